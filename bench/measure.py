"""What a measure is: what it does to a contender, the figures that come out, and their bars."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from bench.sizes import Sizes
from bench.targets import BenchTarget


class LimitServer(Enum):
    """The target that shows what this machine can do at most."""

    RECEIVER = "a bare receiver"
    ANSWERS = "a bare answer"
    NGINX = "nginx"


class Baseline(Enum):
    """What a bar is relative to."""

    SECOND = "second"
    LIMIT = "limit"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Goal:
    """Where we want to be: a share of another target's figure, or a figure of its own."""

    beside: Baseline
    value: float


def of_second(value: float) -> Goal:
    """So many times as good as the second endpoint, which is meant to be a Glance."""
    return Goal(Baseline.SECOND, value)


def of_limit(value: float) -> Goal:
    """As large a share of what the machine can do."""
    return Goal(Baseline.LIMIT, value)


def absolute(value: float) -> Goal:
    """A value to reach, whatever others do."""
    return Goal(Baseline.NOTHING, value)


@dataclass(frozen=True, slots=True)
class MeasuredValue:
    """One line of the table."""

    name: str
    title: str
    unit: str
    bars: Sequence[Goal] = ()
    less_is_better: bool = False


@dataclass(frozen=True, slots=True)
class MeasureContext:
    """What a measure stands on."""

    sizes: Sizes
    image: Path  # a file of image_bytes
    part: Path  # a file that a crowd of which is image_bytes
    load: Path  # a file of load_bytes
    share: Path  # a file that a crowd into a bucket of which is image_bytes


Figures = Mapping[str, float | None]
Take = Callable[[BenchTarget, MeasureContext], Awaitable[Figures]]
Around = Callable[[BenchTarget, MeasureContext], Awaitable[None]]


async def _nothing(_: BenchTarget, __: MeasureContext) -> None:
    """Most measures need nothing before and after."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One question to each contender, asked in turn."""

    name: str
    figures: Sequence[MeasuredValue]
    take: Take
    prepare: Around = field(default=_nothing)
    clean: Around = field(default=_nothing)
    limit: LimitServer | None = None
    is_long: bool = False  # taken once, not once a round
    suits: Callable[[BenchTarget], bool] = field(default=lambda _: True)
