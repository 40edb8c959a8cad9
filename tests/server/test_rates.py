"""Tables of the rate rule: waited times, moved bytes, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from imaged.server.rates import TransferRate
from imaged.server.settings import MinimumRate

RATE = MinimumRate(bytes_per_second=100, window=timedelta(seconds=10))

Samples = Sequence[tuple[float, int]]  # seconds that a client had the turn, bytes that moved

GOOD: Mapping[str, Samples] = {
    "nothing yet": [],
    "nothing, for less than the window": [(1, 0)] * 9,
    "just enough": [(1, 100)] * 50,
    "all at once, and then a stall": [(1, 1000)] + [(1, 0)] * 9,
    "bursts with stalls between": ([(1, 1000)] + [(1, 0)] * 9) * 5,
    "nothing while it waits for us": [(0, 0)] * 500,
    "what came while it had no turn counts": [(1, 0), (0, 1000)] + [(1, 0)] * 9,
    "much in little time of its own": [(0.001, 100_000), (0, 0)] * 500,
}
SLOW: Mapping[str, Samples] = {
    "nothing": [(1, 0)] * 10,
    "one byte per second": [(1, 1)] * 10,
    "just too little": [(1, 99)] * 10,
    "quick once, long ago": [(1, 1_000_000)] + [(1, 0)] * 10,
    "slow, with pauses of ours between": [(0, 0), (1, 1)] * 10,
    "in one long look": [(10, 999)],
    "slow at the end": [(1, 100)] * 50 + [(1, 99)],
}


def pace_of(samples: Samples, rate: MinimumRate = RATE) -> TransferRate:
    """Return the rate after these samples."""
    pace = TransferRate()
    for waited_seconds, moved_bytes in samples:
        pace.record(waited_seconds, moved_bytes, rate)
    return pace


@pytest.mark.parametrize("name", GOOD)
def test_a_client_that_keeps_up(name: str) -> None:
    """A fast enough client is never below the rate."""
    pace = TransferRate()
    for waited_seconds, moved_bytes in GOOD[name]:
        pace.record(waited_seconds, moved_bytes, RATE)
        assert not pace.is_below(RATE)


@pytest.mark.parametrize("name", SLOW)
def test_a_client_that_is_too_slow(name: str) -> None:
    """A slow client is below the rate only after the last sample."""
    *before, last = SLOW[name]
    pace = pace_of(before)

    assert not pace.is_below(RATE)
    pace.record(*last, RATE)
    assert pace.is_below(RATE)


@pytest.mark.parametrize("name", SLOW)
def test_without_a_minimum_no_rate_is_too_slow(name: str) -> None:
    """A rate of 0 disables the rule."""
    rate = MinimumRate(0, RATE.window)

    assert not pace_of(SLOW[name], rate).is_below(rate)


def test_a_long_transfer_takes_no_memory() -> None:
    """Samples older than the window are dropped, and a long pause is one sample."""
    pace = pace_of([(1, 200)] * 10_000 + [(0, 0)] * 10_000)

    assert len(pace._samples) <= 11
