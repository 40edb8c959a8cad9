"""Records that are created and deleted, by many at once."""

from __future__ import annotations

from bench.client import Client
from bench.contenders import RECORD, Contender
from bench.measure import Figure, Figures, Ground, Limit, Measure, of_second
from bench.pace import keep_up


async def take(on: Contender, ground: Ground) -> Figures:
    """Create and delete."""

    async def pair(client: Client) -> None:
        await client.delete(await client.create(RECORD))

    sizes = ground.sizes
    pace = await keep_up(on.endpoint, pair, at_once=sizes.at_once, seconds=sizes.seconds)
    return {"pairs": pace.per_second}


RECORDS = Measure(
    "records",
    (Figure("pairs", "create and delete a record, 16 at once", "pairs/s", (of_second(10),)),),
    take,
    limit=Limit.ANSWERS,
)
