"""One record, shown: one client's wait, and how many are shown to many."""

from __future__ import annotations

from bench.client import Client
from bench.load_generator import run_load
from bench.measure import (
    Figures,
    LimitServer,
    Measure,
    MeasureContext,
    MeasuredValue,
    absolute,
    of_second,
)
from bench.targets import BenchTarget

SHOWN_IMAGE = "to show"


async def prepare(on: BenchTarget, _: MeasureContext) -> None:
    """Have a record."""
    on.kept[SHOWN_IMAGE] = await on.new_image()


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Ask for it again and again."""
    path = f"/v2/images/{on.kept[SHOWN_IMAGE]}"

    async def show(client: Client) -> None:
        await client.get(path)

    sizes = ground.sizes
    alone = await run_load(on.endpoint, show, at_once=1, seconds=sizes.seconds)
    many = await run_load(on.endpoint, show, at_once=sizes.at_once, seconds=sizes.seconds)
    return {"p50": alone.percentile_ms(50), "many": many.per_second}


async def clean(on: BenchTarget, _: MeasureContext) -> None:
    """Leave nothing behind."""
    await on.delete([on.kept.pop(SHOWN_IMAGE)])


SHOW = Measure(
    "show",
    (
        MeasuredValue("p50", "show, p50", "ms", (absolute(0.5),), less_is_better=True),
        MeasuredValue("many", "show, 16 at once", "per s", (of_second(12),)),
    ),
    take,
    prepare,
    clean,
    limit=LimitServer.ANSWERS,
)
