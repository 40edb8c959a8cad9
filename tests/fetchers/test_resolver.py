"""Lookups of names for fetches: limited, fair among projects, and separate from all others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from threading import Event, stack_size
from typing import Any

import pytest

from imaged.fetchers.resolver import NameResolver
from support.waiting import wait_until

pytestmark = pytest.mark.asyncio

LARGEST_STACK = 1 << 46  # bytes; no system has that much, so no thread can be started
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 80))]


class SlowNames:
    """A resolver whose lookups of names under ``slow.`` hang until the test releases them."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.asked: list[str] = []
        self.ended: list[str] = []

    def __call__(self, host: str, *_: Any) -> list[tuple[Any, ...]]:
        """Look up, as ``socket.getaddrinfo`` does."""
        self.asked.append(host)
        if host.startswith("slow."):
            assert self.go_on.wait(30)
        self.ended.append(host)
        return FOUND


@pytest.fixture
def names() -> Iterator[SlowNames]:
    """At the end no thread is left waiting."""
    slow = SlowNames()
    yield slow
    slow.go_on.set()


async def until(is_so: Callable[[], object]) -> None:
    """Wait until a thread has done something."""
    await asyncio.to_thread(wait_until, is_so)


async def look_up(lookups: NameResolver, owner: str, host: str, seconds: float = 20) -> str:
    """The first address. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        return (await lookups.of(owner).resolve(host, 80))[0]["host"]


async def abandon(lookups: NameResolver, names: SlowNames, owner: str, host: str) -> None:
    """Look a name up, and stop waiting while the lookup is running."""
    waiting = asyncio.create_task(look_up(lookups, owner, host))
    await until(lambda: host in names.asked)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def let_threads_run() -> None:
    """A lookup that has got a slot is made meanwhile: each of these waits for a thread."""
    for _ in range(5):
        await asyncio.to_thread(int)


async def test_a_lookup_that_was_abandoned_keeps_its_place(names: SlowNames) -> None:
    """It is still running; the next of this project waits, that of another does not."""
    lookups = NameResolver(names, max_lookups=4, max_lookups_per_project=2)
    for number in range(2):
        await abandon(lookups, names, "a", f"slow.{number}")

    third = asyncio.create_task(look_up(lookups, "a", "third"))
    assert await look_up(lookups, "b", "other") == "192.0.2.7"
    await let_threads_run()
    assert "third" not in names.asked

    names.go_on.set()
    assert await third == "192.0.2.7"


async def test_places_are_bounded_over_all_projects(names: SlowNames) -> None:
    """So that the number of threads is."""
    lookups = NameResolver(names, max_lookups=2, max_lookups_per_project=2)
    for owner in ("a", "b"):
        await abandon(lookups, names, owner, f"slow.{owner}")

    third = asyncio.create_task(look_up(lookups, "c", "third"))
    await let_threads_run()
    assert names.asked == ["slow.a", "slow.b"]

    names.go_on.set()
    assert await third == "192.0.2.7"


async def test_giving_up_while_waiting_for_a_place_takes_none(names: SlowNames) -> None:
    """A later lookup gets it."""
    lookups = NameResolver(names, max_lookups=1, max_lookups_per_project=1)
    await abandon(lookups, names, "a", "slow.a")
    for owner in ("a", "b"):
        with pytest.raises(TimeoutError):
            await look_up(lookups, owner, "never", seconds=0.01)

    names.go_on.set()
    for owner in ("a", "b"):
        assert await look_up(lookups, owner, f"{owner}.now") == "192.0.2.7"
    assert "never" not in names.asked
    await until(lambda: not lookups._owners)


async def test_giving_up_lets_the_next_of_the_project_on(names: SlowNames) -> None:
    """The project's slot is free again, though the project still waits for a shared one."""
    lookups = NameResolver(names, max_lookups=1, max_lookups_per_project=1)
    await abandon(lookups, names, "a", "slow.a")
    first = asyncio.create_task(look_up(lookups, "b", "first"))
    await until(lambda: "b" in lookups._owners)
    second = asyncio.create_task(look_up(lookups, "b", "second"))
    await until(lambda: lookups._owners["b"].users == 2)

    first.cancel()
    names.go_on.set()

    assert await second == "192.0.2.7"
    assert "first" not in names.asked


async def test_other_lookups_are_not_behind_them(names: SlowNames) -> None:
    """The loop's own threads, which S3 and PostgreSQL use, stay free."""
    lookups = NameResolver(names)
    for number in range(lookups.max_lookups_per_project):
        for owner in "abcd":
            await abandon(lookups, names, owner, f"slow.{owner}.{number}")

    async with asyncio.timeout(20):
        assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
    assert not names.ended


async def test_a_system_without_room_for_threads() -> None:
    """The lookup fails with a retryable error, and its slot is free."""
    lookups = NameResolver(max_lookups=1, max_lookups_per_project=1)
    usual = stack_size(LARGEST_STACK)
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="thread"):
                await look_up(lookups, "a", "127.0.0.1")
    finally:
        stack_size(usual)

    assert await look_up(lookups, "a", "127.0.0.1") == "127.0.0.1"


async def test_a_lookup_that_fails_in_a_way_of_its_own() -> None:
    """Its caller gets the error, and its slot is free."""

    def fail(*_: object) -> list[tuple[Any, ...]]:
        raise ValueError("embedded null character")

    lookups = NameResolver(fail, max_lookups=1, max_lookups_per_project=1)
    for _ in range(2):
        with pytest.raises(ValueError, match="null"):
            await look_up(lookups, "a", "odd", seconds=5)
    assert not lookups._owners


async def test_errors_are_those_of_the_system() -> None:
    """A name that does not exist, and what is not a name."""
    for host in ("nowhere.invalid", "a..b", "x" * 64):
        with pytest.raises(OSError):  # noqa: PT011 - gaierror is one
            await look_up(NameResolver(), "a", host)


async def test_a_name_is_looked_up_for_real() -> None:
    """By the system's own resolver."""
    assert await look_up(NameResolver(), "a", "localhost") in {"127.0.0.1", "::1"}
