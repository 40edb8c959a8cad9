"""Counts of open connections, in all and for each network of clients.

Limits hold for all processes of a service together, so their counts are in memory that they share.
Each writes its own counts only, so nothing has
to be locked, and adds before it compares: two that admit at the same moment may both refuse, but
never exceed a limit. The parent clears the counts of a process that died.
"""

from __future__ import annotations

import mmap
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

NETWORK_BUCKETS = 4096  # networks that share a bucket by chance are counted together
_COUNT_BYTES = 4


class ConnectionCounts(Protocol):
    """The counts that limits apply to."""

    @property
    def connections(self) -> int:
        """The open connections."""
        ...

    def of_network(self, network: str) -> int:
        """The open connections of one network."""
        ...

    def add(self, network: str | None, number: int) -> None:
        """Add to the counts of this process. ``network``: None for a local connection."""
        ...


@dataclass(slots=True)
class LocalCounts:
    """The counts of a process that is alone."""

    connections: int = 0
    networks: Counter[str] = field(default_factory=Counter)

    def of_network(self, network: str) -> int:
        """The open connections of one network."""
        return self.networks[network]

    def add(self, network: str | None, number: int) -> None:
        """Add to the counts. ``network``: None for a local connection."""
        self.connections += number
        if network is not None:
            self.networks[network] += number
            if not self.networks[network]:
                del self.networks[network]


class SharedCounts:
    """The counts of a number of processes that are forked from this one."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        size = processes * _COUNT_BYTES
        self._open = memoryview(mmap.mmap(-1, size)).cast("I")
        self._networks = memoryview(mmap.mmap(-1, NETWORK_BUCKETS * size)).cast("I")

    @property
    def connections(self) -> int:
        """The open connections of all processes."""
        return sum(self._open)

    def of_network(self, network: str) -> int:
        """The open connections of one network."""
        first = self._first_of(network)
        return sum(self._networks[first : first + self.processes])

    def is_more_than_another(self, slot: int) -> bool:
        """Whether one process has more connections than another."""
        return self._open[slot] > min(self._open)

    def add(self, slot: int, network: str | None, number: int) -> None:
        """Add to the counts of one process. ``network``: None for a local connection."""
        self._open[slot] += number
        if network is not None:
            self._networks[self._first_of(network) + slot] += number

    def clear(self, slot: int) -> None:
        """Forget the connections of a process that has ended."""
        self._open[slot] = 0
        for first in range(0, len(self._networks), self.processes):
            if self._networks[first + slot]:
                self._networks[first + slot] = 0

    def _first_of(self, network: str) -> int:
        """The count of the first process; hashes of texts are the same after a fork."""
        return hash(network) % NETWORK_BUCKETS * self.processes


@dataclass(frozen=True, slots=True)
class SharedSlot:
    """The counts of all processes, as one of them sees and changes them."""

    counts: SharedCounts
    slot: int

    @property
    def connections(self) -> int:
        """The open connections of all processes."""
        return self.counts.connections

    def of_network(self, network: str) -> int:
        """The open connections of one network."""
        return self.counts.of_network(network)

    def add(self, network: str | None, number: int) -> None:
        """Add to the counts of this process."""
        self.counts.add(self.slot, network, number)

    def is_more_than_another(self) -> bool:
        """Whether this process has more connections than another."""
        return self.counts.is_more_than_another(self.slot)
