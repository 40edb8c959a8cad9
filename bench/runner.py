"""Each measure, of each contender, in turn: first, second, limit, and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench.disk import make_image
from bench.limits import limits
from bench.machine import machine
from bench.measure import LimitServer, Measure, MeasureContext
from bench.noise import calibrate
from bench.result import FIRST, LIMIT, SECOND, Result
from bench.sizes import Sizes
from bench.targets import BenchTarget, running

Contenders = Mapping[str, BenchTarget]


async def run_measures(
    contenders: Contenders,
    measures: Sequence[Measure],
    sizes: Sizes,
    folder: Path,
    *,
    tell: Callable[[str], None],
    keep: Callable[[Result], None],
) -> Result:
    """Run everything, with a look at the machine before, between and after.

    ``tell`` hears what is being done, ``keep`` gets what is known after each measure: a run that is
    broken off was not in vain.
    """
    ground = await asyncio.to_thread(_ground, sizes, folder)
    names = {place: contender.name for place, contender in contenders.items()}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    taken: dict[str, dict[str, list[float]]] = {}
    async with AsyncExitStack() as stack:
        bare = limits(folder, ground.image)
        looks = [await asyncio.to_thread(calibrate, folder, sizes.look_bytes)]
        found = Result(at, machine(), names, sizes, looks, taken)
        for contender in (*contenders.values(), *bare.values()):
            await stack.enter_async_context(running(contender))
        for measure in measures:
            await _take(measure, _those(measure, contenders, bare), ground, taken, tell)
            looks.append(await asyncio.to_thread(calibrate, folder, sizes.look_bytes))
            keep(found)
    return found


def _ground(sizes: Sizes, folder: Path) -> MeasureContext:
    return MeasureContext(
        sizes,
        make_image(folder / "image", sizes.image_bytes),
        make_image(folder / "part", sizes.image_bytes // sizes.crowd),
        make_image(folder / "load", sizes.load_bytes),
        make_image(folder / "share", sizes.image_bytes // sizes.bucket_crowd),
    )


def _those(
    measure: Measure, contenders: Contenders, bare: Mapping[LimitServer, BenchTarget]
) -> Contenders:
    """The targets that it suits, with its limit."""
    those = {place: each for place, each in contenders.items() if measure.suits(each)}
    if measure.limit is not None and measure.limit in bare:
        those[LIMIT] = bare[measure.limit]
    return those


async def _take(
    measure: Measure,
    contenders: Contenders,
    ground: MeasureContext,
    taken: dict[str, dict[str, list[float]]],
    tell: Callable[[str], None],
) -> None:
    real = [contenders[place] for place in (FIRST, SECOND) if place in contenders]
    for contender in real:
        await measure.prepare(contender, ground)
    for number in range(1 if measure.is_long else ground.sizes.rounds):
        for place, contender in contenders.items():
            tell(f"{measure.name}, round {number + 1}: {contender.name}")
            for name, value in (await measure.take(contender, ground)).items():
                if value is not None:
                    figure = taken.setdefault(f"{measure.name}.{name}", {})
                    figure.setdefault(place, []).append(value)
    for contender in real:
        await measure.clean(contender, ground)
