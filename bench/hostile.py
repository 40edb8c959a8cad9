"""What 1,300 hostile clients cost 20 normal ones: ``python -m bench.hostile``.

In turn without and with the crowd: 1,000 connections that say nothing, 200 whose header trickles
and 100 that upload a byte per second; each of them that is ended comes again. Of the normal ones 16
show a record, and 4 create images and upload a little. What counts is how much longer their 99th
percentile gets. The crowd is in the process that measures, so what it costs here counts as well.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import click
import uvloop

from bench.client import Client
from bench.endpoint import Endpoint
from bench.load_generator import run_load
from bench.targets import IMAGE_RECORD, BenchTarget, imaged, running

IDLE, TRICKLE, DAWDLE = 1000, 200, 100
READERS, WRITERS = 16, 4
BYTE_EVERY_SECONDS = 1.0
SETTLE_SECONDS = 5.0  # until the hostile uploads have begun, which costs the catalog something
CONCURRENT_CONNECTS = 50
DATA = b"a small image"

Percentiles = dict[str, list[float]]


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=8.0, show_default=True, help="of each half of a round")
def main(rounds: int, seconds: float) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        alone, beside = uvloop.run(measure(Path(folder), rounds, seconds))
    for name, values in alone.items():
        before, after = statistics.median(values), statistics.median(beside[name])
        print(
            f"{name:11} {before:7.1f} ms alone  {after:7.1f} ms beside  {after / before:5.2f} times"
        )


async def measure(folder: Path, rounds: int, seconds: float) -> tuple[Percentiles, Percentiles]:
    """The percentiles of each round, alone and beside the crowd."""
    alone: Percentiles = {}
    beside: Percentiles = {}
    async with running(imaged(folder / "imaged")) as contender:
        shown = await contender.new_image()
        await _normal({}, contender.endpoint, shown, seconds)
        for _ in range(rounds):
            await _normal(alone, contender.endpoint, shown, seconds)
            async with _crowd(contender):
                await asyncio.sleep(SETTLE_SECONDS)
                await _normal(beside, contender.endpoint, shown, seconds)
    return alone, beside


async def _normal(into: Percentiles, endpoint: Endpoint, shown: str, seconds: float) -> None:
    """Be the normal clients for a while."""

    async def show(client: Client) -> None:
        await client.get(f"/v2/images/{shown}")

    async def upload(client: Client) -> None:
        await client.put(await client.create(IMAGE_RECORD), DATA)

    showing, uploading = await asyncio.gather(
        run_load(endpoint, show, at_once=READERS, seconds=seconds),
        run_load(endpoint, upload, at_once=WRITERS, seconds=seconds),
    )
    for name, pace in (("show", showing), ("upload", uploading)):
        for percent in (50, 99):
            into.setdefault(f"{name} p{percent}", []).append(pace.percentile_ms(percent))


@asynccontextmanager
async def _crowd(contender: BenchTarget) -> AsyncIterator[None]:
    """Be the hostile ones for as long as the block runs."""
    gate = asyncio.Semaphore(CONCURRENT_CONNECTS)
    image_ids = [await contender.new_image() for _ in range(DAWDLE)]
    heads = [b""] * IDLE
    heads += [contender.endpoint.head("GET", "/livez")[: -len(b"\r\n")] + b"X: "] * TRICKLE
    for image_id in image_ids:
        path = f"/v2/images/{image_id}/file"
        facts = ("Content-Type: application/octet-stream", "Content-Length: 1000000")
        heads.append(contender.endpoint.head("PUT", path, *facts))
    holding = [asyncio.create_task(_hold(contender.endpoint, head, gate)) for head in heads]
    try:
        yield
    finally:
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, return_exceptions=True)


async def _hold(endpoint: Endpoint, head: bytes, gate: asyncio.Semaphore) -> None:
    """Hold a connection, and come again when it was ended."""
    while True:
        async with gate:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        ended = asyncio.create_task(reader.read(1))
        try:
            writer.write(head)
            while not ended.done():
                if head:
                    writer.write(b"x")
                await asyncio.wait([ended], timeout=BYTE_EVERY_SECONDS if head else None)
        finally:
            ended.cancel()
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await ended


if __name__ == "__main__":
    main()
