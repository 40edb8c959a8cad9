"""What every export promises; each driver inherits the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

import pytest

from contracts.store_backdoors import Backdoor
from contracts.store_bodies import PausedBody, Verdict, body, some_bytes
from imaged.core.block import Block
from imaged.core.errors import ExportExists, StoreError
from imaged.core.limits import MIB
from imaged.exports.conventions import temporary_name
from imaged.ports.export import Destination, ExportFile

DATA = some_bytes(12 * MIB + 5)


class DestinationBackdoor(Backdoor, Protocol):
    """The view of a client that does not use imaged."""

    async def names(self) -> set[str]:
        """All names, of complete and unfinished files."""
        ...


def export_file(file_name: str = "image.raw", task_id: str | None = None) -> ExportFile:
    """One attempt."""
    return ExportFile(task_id or str(uuid4()), uuid4(), file_name)


def another_attempt(of: ExportFile) -> ExportFile:
    """The next one at the same task."""
    return replace(of, attempt=uuid4())


async def read_back(destination: Destination, name: str) -> bytes:
    """The bytes that an export returns."""
    async with aclosing(destination.read(name)) as chunks:
        return b"".join([chunk async for chunk in chunks])


class DestinationContract:
    """The whole contract."""

    pytestmark = pytest.mark.asyncio

    @pytest.mark.parametrize("size_bytes", [0, 1, 5 * MIB, len(DATA)])
    @pytest.mark.parametrize("is_announced", [True, False])
    async def test_a_delivered_file_exists(
        self,
        destination: Destination,
        door: DestinationBackdoor,
        size_bytes: int,
        is_announced: bool,
    ) -> None:
        """With its bytes, under its name, and nothing else but what the cleanup removes."""
        sent = DATA[:size_bytes]
        this = export_file("image.raw")

        expected_bytes = size_bytes if is_announced else None
        assert await destination.deliver(this, body(sent), expected_bytes) == size_bytes

        assert await door.read_raw("image.raw") == sent
        assert await read_back(destination, "image.raw") == sent
        assert await destination.has("image.raw")
        await destination.remove(this.task_id)
        assert await door.names() == {"image.raw"}
        assert await door.read_raw("image.raw") == sent

    async def test_folders_are_made(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """Also if some of them exist."""
        for name in ("a/b/one.raw", "a/b/two.raw", "a/three ü.raw"):
            await destination.deliver(export_file(name), body(b"bytes"))

            assert await door.read_raw(name) == b"bytes"

    async def test_the_location_is_told(self, destination: Destination) -> None:
        """It ends with the name."""
        assert destination.location_of("a/b.raw").endswith("/a/b.raw")

    async def test_nothing_is_visible_before_the_end(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """Before the end there is no file; and the cleanup sees the task."""
        this, paused = export_file(), PausedBody(DATA, b"last")
        async with asyncio.TaskGroup() as group:
            delivery = group.create_task(destination.deliver(this, paused))
            await paused.halted()

            assert not await destination.has("image.raw")
            assert await door.read_raw("image.raw") is None
            assert set(await destination.leftovers()) == {this.task_id}

            paused.release()
        assert delivery.result() == len(DATA) + 4
        assert await door.read_raw("image.raw") == DATA + b"last"

    async def test_a_verdict_prevents_it(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """The body's exception propagates, and nothing is left."""
        with pytest.raises(Verdict):
            await destination.deliver(export_file(), body(DATA, ending=Verdict("no")))

        assert await door.names() == set()

    async def test_errors_of_stores_pass_through(self, destination: Destination) -> None:
        """The error of a store that is read and has the name of the export is another one."""
        error = StoreError(destination.name, "is on fire")

        with pytest.raises(StoreError) as raised:
            await destination.deliver(export_file(), body(b"some", ending=error))

        assert raised.value is error

    async def test_being_cancelled_leaves_nothing(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """In the middle of the bytes."""
        paused = PausedBody(DATA)
        delivery = asyncio.create_task(destination.deliver(export_file(), paused))
        await paused.halted()

        delivery.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivery

        assert await door.names() == set()

    async def test_a_file_is_never_replaced(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """Whatever made it: the error comes before the first byte is requested."""
        await door.plant("image.raw", b"theirs")

        with pytest.raises(ExportExists, match=r"image\.raw"):
            await destination.deliver(
                export_file(), body(b"", ending=Verdict("the body was asked"))
            )

        assert await destination.has("image.raw")
        assert await door.read_raw("image.raw") == b"theirs"
        assert await door.names() == {"image.raw"}

    async def test_a_file_that_comes_meanwhile_is_not_replaced(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """The same if it did not exist at the beginning."""
        this, paused = export_file("a/image.raw"), PausedBody(DATA)
        delivery = asyncio.create_task(destination.deliver(this, paused))
        await paused.halted()
        await door.plant("a/image.raw", b"theirs")
        paused.release()

        with pytest.raises(ExportExists):
            await delivery

        assert await door.read_raw("a/image.raw") == b"theirs"
        assert not await destination.has_delivered(this)
        await destination.remove(this.task_id)
        assert await door.names() == {"a/image.raw"}

    async def test_one_of_two_tasks_delivers(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """At the same time, under the same name."""
        parcels = [export_file() for _ in range(4)]
        sent = [some_bytes(6 * MIB + number) for number in range(4)]

        results = await asyncio.gather(
            *[destination.deliver(p, body(data)) for p, data in zip(parcels, sent, strict=True)],
            return_exceptions=True,
        )

        (won,) = [number for number, result in enumerate(results) if isinstance(result, int)]
        assert sum(isinstance(result, ExportExists) for result in results) == 3
        assert await door.read_raw("image.raw") == sent[won]
        delivered = [await destination.has_delivered(p) for p in parcels]
        assert delivered == [number == won for number in range(4)]

    async def test_the_next_attempt_knows_its_own_file(self, destination: Destination) -> None:
        """And no other."""
        this = export_file("a/b.raw")
        assert not await destination.has_delivered(this)

        await destination.deliver(this, body(b"bytes"))

        assert await destination.has_delivered(another_attempt(this))
        assert not await destination.has_delivered(export_file("a/b.raw"))
        assert not await destination.has_delivered(export_file("a/other.raw", this.task_id))
        assert not await destination.has_delivered(export_file("a/b.raw/c", this.task_id))

    async def test_leftovers_of_a_crash_are_removed(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """Of one task, and of no other; files stay."""
        dead, other = export_file(), export_file()
        await door.plant("a/file.raw", b"theirs")
        await door.write_unfinished(temporary_name(dead), b"half")
        await door.write_unfinished(temporary_name(another_attempt(dead)), b"half")
        await door.write_unfinished(temporary_name(other), b"half")
        assert set(await destination.leftovers()) == {dead.task_id, other.task_id}

        await destination.remove(dead.task_id)

        assert await door.names() == {"a/file.raw", temporary_name(other)}
        assert set(await destination.leftovers()) == {other.task_id}

    async def test_foreign_files_are_left(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """Names that only resemble imaged's."""
        for name in (".imaged-notes", ".imaged-0.1", f".imaged-{uuid4()}.zz"):
            await door.plant(name, b"theirs")

        assert set(await destination.leftovers()) == set()

    async def test_a_removed_attempt_cannot_deliver_any_more(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """An attempt that was taken for dead and wakes up exports nothing beside the next one."""
        this, paused = export_file(), PausedBody(DATA)
        delivery = asyncio.create_task(destination.deliver(this, paused))
        await paused.halted()
        await destination.remove(this.task_id)
        paused.release()

        (result,) = await asyncio.gather(delivery, return_exceptions=True)

        assert isinstance(result, Exception)
        assert await door.read_raw("image.raw") is None

    async def test_a_check_leaves_nothing(
        self, destination: Destination, door: DestinationBackdoor
    ) -> None:
        """It tests every operation, twice; and there is nothing to remove, which is no error."""
        await destination.check()
        await destination.remove(str(uuid4()))
        await destination.check()

        assert await door.names() == set()

    async def test_memory_goes_with_the_blocks(self, destination: Destination) -> None:
        """Few blocks are alive at the same time, however many there are."""
        alive = most = 0

        def gone(_size_bytes: int) -> None:
            nonlocal alive
            alive -= 1

        async def blocks() -> AsyncIterator[Block]:
            nonlocal alive, most
            for _ in range(64):
                alive += 1
                most = max(most, alive)
                yield Block([bytes(MIB)], MIB, gone)

        await destination.deliver(export_file(), blocks())

        assert most <= 48
        assert alive == 0
