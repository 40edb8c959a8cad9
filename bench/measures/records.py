"""Records that are created and deleted, by many at once."""

from __future__ import annotations

from bench.client import Client
from bench.load_generator import run_load
from bench.measure import Figures, LimitServer, Measure, MeasureContext, MeasuredValue, of_second
from bench.targets import IMAGE_RECORD, BenchTarget


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Create and delete."""

    async def pair(client: Client) -> None:
        await client.delete(await client.create(IMAGE_RECORD))

    sizes = ground.sizes
    pace = await run_load(on.endpoint, pair, at_once=sizes.at_once, seconds=sizes.seconds)
    return {"pairs": pace.per_second}


RECORDS = Measure(
    "records",
    (
        MeasuredValue(
            "pairs", "create and delete a record, 16 at once", "pairs/s", (of_second(15),)
        ),
    ),
    take,
    limit=LimitServer.ANSWERS,
)
