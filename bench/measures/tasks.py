"""A record, shown while tasks import images flat out: heavy work must not be felt elsewhere.

The bytes come from a server of its own, and pass through everything that an upload does. That
server would be on another machine: here it has the lowest priority, so that what is measured is
what tasks cost. The client waits for one answer after the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bench.client import Client, ErrorResponse, connected
from bench.disk import level
from bench.endpoint import Endpoint
from bench.load_generator import run_load, run_load_while
from bench.measure import Figures, Measure, MeasureContext, MeasuredValue, absolute
from bench.programs import Program
from bench.targets import BenchTarget

SOURCE_FILE_NAME = "image.raw"
LOOKED_AT_EVERY_SECONDS = 0.1
FINAL = {"success", "failure"}
BEGUN = {"processing", *FINAL}


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Ask without work, and then as long as every import runs."""
    if on.origin is None:
        return {}
    sizes, origin = ground.sizes, on.origin
    await asyncio.to_thread(level, on.folder, sizes.load_bytes * sizes.imports)
    shown = await on.new_image()

    async def show(client: Client) -> None:
        await client.get(f"/v2/images/{shown}")

    idle = await run_load(on.endpoint, show, at_once=1, seconds=sizes.seconds)
    async with _serving(on, ground, origin), connected(on.endpoint) as client:
        ids = [await _ask(client, origin) for _ in range(sizes.imports)]
        await _until(client, ids, any, BEGUN)
        with on.watched() as spent:
            one_ended = asyncio.create_task(_first_of(on.endpoint, ids))
            busy = await run_load_while(on.endpoint, show, lambda: not one_ended.done())
            await one_ended
            await _until(client, ids, all, FINAL)
        made = [await _image_of(client, task_id) for task_id in ids]
    await on.forget([shown, *made])
    return {
        "idle_p50": idle.percentile_ms(50),
        "idle_p99": idle.percentile_ms(99),
        "p50": busy.percentile_ms(50),
        "p99": busy.percentile_ms(99),
        "ratio": busy.percentile_ms(99) / idle.percentile_ms(99),
        "speed": sizes.load_bytes * sizes.imports / spent.seconds / 1e6,
    }


@asynccontextmanager
async def _serving(
    on: BenchTarget, ground: MeasureContext, origin: Endpoint
) -> AsyncIterator[None]:
    """The server that the bytes come from."""
    folder = on.folder / "origin"
    if not folder.exists():
        folder.mkdir()
        os.link(ground.load, folder / SOURCE_FILE_NAME)
    where = ["--bind", origin.host, "--directory", str(folder), str(origin.port)]
    command = ["nice", "-n", "19", sys.executable, "-m", "http.server", *where]
    program = Program(command, origin, on.folder / "origin.log", ready="/")
    await program.start()
    try:
        yield
    finally:
        await program.stop()


async def _ask(client: Client, origin: Endpoint) -> str:
    """Ask for an import; the task's id."""
    asked = {
        "type": "import",
        "input": {
            "import_from": f"http://{origin.host}:{origin.port}/{SOURCE_FILE_NAME}",
            "import_from_format": "raw",
            "image_properties": {"name": "bench"},
        },
    }
    answer = await client.ask("POST", "/v2/tasks", json.dumps(asked).encode(), "application/json")
    task_id: str = answer.json()["id"]
    return task_id


async def _first_of(where: Endpoint, task_ids: Sequence[str]) -> None:
    """Wait until one of them has ended; by a connection of its own."""
    async with connected(where) as client:
        await _until(client, task_ids, any, FINAL)


async def _until(
    client: Client,
    task_ids: Sequence[str],
    enough: Callable[[Iterable[bool]], bool],
    statuses: Collection[str],
) -> None:
    """Wait until any of them, or all of them, have such a status."""
    while True:
        found = [(await _task(client, one))["status"] in statuses for one in task_ids]
        if enough(found):
            return
        await asyncio.sleep(LOOKED_AT_EVERY_SECONDS)


async def _image_of(client: Client, task_id: str) -> str:
    """The image that a task made. Raises ErrorResponse where it made none."""
    task = await _task(client, task_id)
    if task["result"] is None:
        raise ErrorResponse(f"an import failed: {task['message']}")
    image_id: str = task["result"]["image_id"]
    return image_id


async def _task(client: Client, task_id: str) -> Any:
    return (await client.get(f"/v2/tasks/{task_id}")).json()


FIGURES = (
    MeasuredValue("idle_p50", "show without tasks, p50", "ms", less_is_better=True),
    MeasuredValue("idle_p99", "show without tasks, p99", "ms", less_is_better=True),
    MeasuredValue("p50", "show while 8 imports run, p50", "ms", less_is_better=True),
    MeasuredValue("p99", "show while 8 imports run, p99", "ms", less_is_better=True),
    MeasuredValue("ratio", "p99 with imports : without", "×", (absolute(3),), less_is_better=True),
    MeasuredValue("speed", "those imports, in all", "MB/s"),
)

TASKS = Measure("tasks", FIGURES, take, suits=lambda on: on.origin is not None)
