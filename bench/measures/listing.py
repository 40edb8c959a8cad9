"""Pages of a long list: the first one, for one and for many, and a deep one."""

from __future__ import annotations

import asyncio

from bench.client import Client, connected
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
from bench.sizes import Sizes
from bench.targets import BenchTarget

RECORD_NAME = "bench-record"
LISTED_RECORD = (
    f'{{"name": "{RECORD_NAME}", "disk_format": "raw", "container_format": "bare", '
    '"tags": ["bench"], "os_distro": "debian", "hw_disk_bus": "virtio"}'
).encode()
BATCH = 1000
DEEP_PAGE_MARKER = "before the deep page"


async def prepare(on: BenchTarget, ground: MeasureContext) -> None:
    """Have enough records; those of an earlier run stay and count. Find where the page begins."""
    sizes = ground.sizes
    missing = iter(range(sizes.records - len(await _ids(on, f"&name={RECORD_NAME}"))))

    async def add(client: Client) -> None:
        for _ in missing:
            await client.create(LISTED_RECORD)

    async def work() -> None:
        async with connected(on.endpoint) as client:
            await add(client)

    await asyncio.gather(*(work() for _ in range(sizes.at_once)))
    on.kept[DEEP_PAGE_MARKER] = (await _ids(on))[sizes.page * (sizes.deep_page - 1) - 1]


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Ask for the first page."""
    sizes = ground.sizes

    async def page(client: Client) -> None:
        await client.get(f"/v2/images?limit={sizes.page}")

    alone = await run_load(on.endpoint, page, at_once=1, seconds=sizes.seconds)
    many = await run_load(on.endpoint, page, at_once=sizes.at_once, seconds=sizes.seconds)
    return {"alone": alone.per_second, "many": many.per_second}


async def take_deep(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Ask for a page far behind, and for the first one."""
    sizes, marker = ground.sizes, on.kept[DEEP_PAGE_MARKER]
    first = f"/v2/images?limit={sizes.page}"

    page, deep = await _p50(on, sizes, first), await _p50(on, sizes, f"{first}&marker={marker}")
    return {"p50": deep, "depth": deep / page}


async def _p50(on: BenchTarget, sizes: Sizes, path: str) -> float:
    async def page(client: Client) -> None:
        await client.get(path)

    pace = await run_load(on.endpoint, page, at_once=1, seconds=sizes.seconds)
    return pace.percentile_ms(50)


async def _ids(on: BenchTarget, conditions: str = "") -> list[str]:
    """All images of a list, as they come."""
    found: list[str] = []
    address = first = f"/v2/images?limit={BATCH}{conditions}"
    async with connected(on.endpoint) as client:
        while batch := (await client.get(address)).json()["images"]:
            found += [image["id"] for image in batch]
            address = f"{first}&marker={found[-1]}"
    return found


LISTING = Measure(
    "list",
    (
        MeasuredValue("alone", "list 25 of 10,000, 1 connection", "per s", (of_second(10),)),
        MeasuredValue("many", "list 25 of 10,000, 16 connections", "per s", (of_second(12),)),
    ),
    take,
    prepare,
    limit=LimitServer.ANSWERS,
)

DEEP = Measure(
    "deep",
    (
        MeasuredValue("p50", "page 300, p50", "ms", less_is_better=True),
        MeasuredValue("depth", "page 300 : page 1", "×", (absolute(1.2),), less_is_better=True),
    ),
    take_deep,
    prepare,
)
