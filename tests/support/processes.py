"""The processes of a daemon that answers in several of them."""

from __future__ import annotations

from support.daemon import Daemon, children_of


def answering(daemon: Daemon) -> list[int]:
    """The processes that answer: children of the one that forks them, in the order of starts."""
    assert daemon.process is not None
    return sorted(pid for child in children_of(daemon.process.pid) for pid in children_of(child))


def forking(daemon: Daemon) -> int:
    """The process that forks them."""
    assert daemon.process is not None
    return min(children_of(daemon.process.pid))


def totals_of(figures: dict[str, float]) -> dict[str, float]:
    """The figures that never fall while a daemon lives."""
    return {
        name: value
        for name, value in figures.items()
        if name.partition("/")[0].endswith(("_total", "_count", "_sum", "_bucket"))
    }
