"""One record, shown: one client's wait, and how many are shown to many."""

from __future__ import annotations

from bench.client import Client
from bench.contenders import Contender
from bench.measure import Figure, Figures, Ground, Limit, Measure, absolute
from bench.pace import keep_up

KEPT = "to show"


async def prepare(on: Contender, _: Ground) -> None:
    """Have a record."""
    on.kept[KEPT] = await on.new_image()


async def take(on: Contender, ground: Ground) -> Figures:
    """Ask for it again and again."""
    path = f"/v2/images/{on.kept[KEPT]}"

    async def show(client: Client) -> None:
        await client.get(path)

    sizes = ground.sizes
    alone = await keep_up(on.endpoint, show, at_once=1, seconds=sizes.seconds)
    many = await keep_up(on.endpoint, show, at_once=sizes.at_once, seconds=sizes.seconds)
    return {"p50": alone.percentile_ms(50), "many": many.per_second}


async def clean(on: Contender, _: Ground) -> None:
    """Leave nothing behind."""
    await on.delete([on.kept.pop(KEPT)])


SHOW = Measure(
    "show",
    (
        Figure("p50", "show, p50", "ms", (absolute(0.5),), less_is_better=True),
        Figure("many", "show, 16 at once", "per s"),
    ),
    take,
    prepare,
    clean,
    limit=Limit.ANSWERS,
)
