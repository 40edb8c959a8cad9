"""How imaged scales: requests by processes that answer, and uploads at once. Draws SVG.

python -m bench.curves --folder /var/tmp

Each round takes all points of a curve in turn, each of a new daemon; the curve has their medians.
The load generator is one process of the same machine, and takes its share of the processors.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import pygal
import uvloop
from pygal.style import CleanStyle

from bench.client import Client
from bench.disk import level, make_image
from bench.load_generator import Act, run_load
from bench.machine import machine
from bench.sizes import GIB, MIB
from bench.targets import IMAGE_RECORD, BenchTarget, imaged, running
from bench.transfers import put

HERE = Path(__file__).parent
CONNECTIONS = 16
SECONDS = 2.0
RECORDS = 200
PAGE = 25
UPLOADS_AT_ONCE = (1, 2, 4, 8, 16, 32, 64)

Points = Mapping[int, Mapping[str, float]]  # by processes or uploads: each line's value


@dataclass(frozen=True, slots=True)
class Curve:
    """One drawing."""

    file: str
    title: str
    x_title: str
    y_title: str


REQUESTS = Curve(
    "requests-by-processes.svg",
    f"Requests on {CONNECTIONS} connections",
    "processes that answer",
    "per second",
)
UPLOADS = Curve(
    "uploads-at-once.svg", "Uploads, 1 GiB in all", "uploads at once", "MB/s, and MiB of memory"
)


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where the bytes go.")
@click.option("--mib", default=GIB // MIB, show_default=True, help="Of all uploads at once.")
def main(rounds: int, folder: Path | None, mib: int) -> None:
    """Measure both curves of this machine, and draw them into bench/curves."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as made:
        requests = uvloop.run(_requests(Path(made), rounds))
        uploads = uvloop.run(_uploads(Path(made), rounds, mib * MIB))
    for curve, points in ((REQUESTS, requests), (UPLOADS, uploads)):
        draw(curve, points)
        for x, values in points.items():
            told = ", ".join(f"{line} {value:,.0f}" for line, value in values.items())
            click.echo(f"{curve.x_title} {x}: {told}")


def draw(curve: Curve, points: Points) -> None:
    """Write the drawing into ``bench/curves``."""
    chart = pygal.XY(
        style=CleanStyle,
        width=720,
        height=420,
        title=f"{curve.title} ({machine()})",
        x_title=curve.x_title,
        y_title=curve.y_title,
        legend_at_bottom=True,
        include_x_axis=True,
        js=(),  # no script, and nothing from elsewhere
        no_prefix=True,
    )
    chart.x_labels = list(points)
    for line in next(iter(points.values())):
        chart.add(line, [(x, values[line]) for x, values in points.items()])
    (HERE / "curves").mkdir(exist_ok=True)
    (HERE / "curves" / curve.file).write_bytes(chart.render())


async def _requests(folder: Path, rounds: int) -> Points:
    counts = range(1, 2 * (os.cpu_count() or 1) + 1)
    taken: dict[int, list[Mapping[str, float]]] = {count: [] for count in counts}
    for number in range(rounds):
        for count in counts:
            place = folder / f"requests-{number}-{count}"
            async with running(imaged(place, processes=count)) as target:
                taken[count].append(await _requests_of(target))
    return _medians(taken)


async def _requests_of(target: BenchTarget) -> Mapping[str, float]:
    ids = [await target.new_image() for _ in range(RECORDS)]

    async def show(client: Client) -> None:
        await client.get(f"/v2/images/{ids[0]}")

    async def page(client: Client) -> None:
        await client.get(f"/v2/images?limit={PAGE}")

    async def pair(client: Client) -> None:
        await client.delete(await client.create(IMAGE_RECORD))

    acts: Mapping[str, Act] = {"show": show, f"list {PAGE}": page, "create and delete": pair}
    return {name: await _per_second(target, act) for name, act in acts.items()}


async def _per_second(target: BenchTarget, act: Act) -> float:
    load = await run_load(target.endpoint, act, at_once=CONNECTIONS, seconds=SECONDS)
    return load.per_second


async def _uploads(folder: Path, rounds: int, size_bytes: int) -> Points:
    taken: dict[int, list[Mapping[str, float]]] = {count: [] for count in UPLOADS_AT_ONCE}
    for number in range(rounds):
        for count in UPLOADS_AT_ONCE:
            file = make_image(folder / "image", size_bytes // count)
            async with running(imaged(folder / f"uploads-{number}-{count}")) as target:
                taken[count].append(await _uploads_of(target, file, size_bytes // count, count))
    return _medians(taken)


async def _uploads_of(
    target: BenchTarget, file: Path, file_bytes: int, count: int
) -> Mapping[str, float]:
    await asyncio.to_thread(level, target.folder, file_bytes * count)
    ids = [await target.new_image() for _ in range(count)]
    with ThreadPoolExecutor(count) as senders, target.watched() as spent:
        loop = asyncio.get_running_loop()
        send = partial(put, target.endpoint, file=file)
        await asyncio.gather(*(loop.run_in_executor(senders, send, each) for each in ids))
    await target.forget(ids)
    return {
        "MB/s in all": file_bytes * count / spent.seconds / 1e6,
        "peak of memory, MiB": spent.peak_mib or 0,
    }


def _medians(taken: Mapping[int, Sequence[Mapping[str, float]]]) -> Points:
    return {
        x: {line: statistics.median(one[line] for one in found) for line in found[0]}
        for x, found in taken.items()
    }


if __name__ == "__main__":
    main()
