"""A result as lines: medians side by side, ratios, and which bars are met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.measure import Baseline, Goal, Measure, MeasuredValue
from bench.result import FIRST, LIMIT, SECOND, Result

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One figure of a result, in words."""

    title: str
    unit: str
    first: str
    second: str
    times_as_good: str  # the first as the second
    limit: str
    of_limit: str
    bar: str
    is_met: str

    @property
    def cells(self) -> Sequence[str]:
        """From left to right."""
        return (
            self.title,
            self.unit,
            self.first,
            self.second,
            self.times_as_good,
            self.limit,
            self.of_limit,
            self.bar,
            self.is_met,
        )


def heads(result: Result) -> Sequence[str]:
    """Names of the columns of ``ReportRow.cells``."""
    second = result.names.get(SECOND, "second")
    return (
        "measure",
        "unit",
        result.names[FIRST],
        second,
        "times as good",
        "limit",
        "of limit",
        "bar",
        "met",
    )


def lines(result: Result, measures: Sequence[Measure]) -> Iterator[ReportRow]:
    """All figures that were taken, in the order of the measures."""
    for measure in measures:
        for figure in measure.figures:
            name = f"{measure.name}.{figure.name}"
            if name in result.taken:
                yield _line(result, name, figure)


def changes(now: Result, earlier: Result, measures: Sequence[Measure]) -> Iterator[Sequence[str]]:
    """Each figure now and earlier, its ratio, and the ratio beside the second contender's."""
    for measure in measures:
        for figure in measure.figures:
            name = f"{measure.name}.{figure.name}"
            new, old = now.median(name, FIRST), earlier.median(name, FIRST)
            if new is None or old is None:
                continue
            beside = [times_as_good(figure, *_pair(each, name, SECOND)) for each in (now, earlier)]
            yield (
                figure.title,
                figure.unit,
                _rounded(old),
                _rounded(new),
                _times(times_as_good(figure, new, old)),
                _times(beside[1]),
                _times(beside[0]),
            )


def times_as_good(figure: MeasuredValue, ours: float | None, theirs: float | None) -> float | None:
    """More than one is better, whichever way the figure goes."""
    if not ours or not theirs:
        return None
    return theirs / ours if figure.less_is_better else ours / theirs


def is_met(bar: Goal, result: Result, name: str, figure: MeasuredValue) -> bool | None:
    """Whether the first contender is where we want it; None: nothing to compare it with."""
    ours = result.median(name, FIRST)
    if ours is None:
        return None
    if bar.beside is Baseline.NOTHING:
        return ours <= bar.value if figure.less_is_better else ours >= bar.value
    other = SECOND if bar.beside is Baseline.SECOND else LIMIT
    times = times_as_good(figure, ours, result.median(name, other))
    return None if times is None else times >= bar.value


def _line(result: Result, name: str, figure: MeasuredValue) -> ReportRow:
    of_limit = times_as_good(figure, *_pair(result, name, LIMIT))
    return ReportRow(
        figure.title,
        figure.unit,
        _value(result, name, FIRST),
        _value(result, name, SECOND),
        _times(times_as_good(figure, *_pair(result, name, SECOND))),
        _value(result, name, LIMIT),
        NOTHING if of_limit is None else f"{of_limit:.0%}",
        ", ".join(_bar(bar, figure) for bar in figure.bars) or NOTHING,
        _verdicts(result, name, figure),
    )


def _pair(result: Result, name: str, other: str) -> tuple[float | None, float | None]:
    return result.median(name, FIRST), result.median(name, other)


def _value(result: Result, name: str, of: str) -> str:
    median = result.median(name, of)
    if median is None:
        return NOTHING
    if len(result.taken[name][of]) == 1:
        return _rounded(median)
    return f"{_rounded(median)} ±{result.spread(name, of):.0%}"


def _rounded(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _times(value: float | None) -> str:
    return NOTHING if value is None else f"{_rounded(value)} ×"


def _bar(bar: Goal, figure: MeasuredValue) -> str:
    match bar.beside:
        case Baseline.SECOND:
            return f"{bar.value:g} × second"
        case Baseline.LIMIT:
            return f"{bar.value:.0%} of limit"
        case Baseline.NOTHING:
            return f"{'≤' if figure.less_is_better else '≥'} {bar.value:g} {figure.unit}"


def _verdicts(result: Result, name: str, figure: MeasuredValue) -> str:
    words = {True: "yes", False: "no", None: NOTHING}
    found = [words[is_met(bar, result, name, figure)] for bar in figure.bars]
    return ", ".join(found) or NOTHING
