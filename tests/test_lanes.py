"""Lanes: in order, bounded, with failures reported, and independent of each other."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress

import anyio
import pytest

from imaged.lanes import DEPTH, BackgroundLane, CpuSlots, InlineLane, Lane, LaneFactory, ThreadLane

pytestmark = pytest.mark.asyncio

NICEST = 19  # <sys/resource.h>: there is nothing below
PATIENCE = 10  # seconds until a test gives up; none of them should wait that long


class Item:
    """Something that can be seen to be let go."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end, whatever happens: no waiter is left behind it."""
    gate = threading.Event()
    yield gate
    gate.set()


class LaneContract:
    """What every lane promises."""

    @pytest.fixture
    def lane(self) -> LaneFactory:
        """The lane to examine."""
        raise NotImplementedError  # each kind's suite has one

    @pytest.mark.rule("loops.8")
    async def test_items_are_worked_off_in_order(self, lane: LaneFactory) -> None:
        """Each once, in the order in which they were fed."""
        done: list[int] = []
        async with lane(done.append) as feeding:
            for number in range(100):
                await feeding.feed(number)
            await feeding.drain()

        assert done == list(range(100))

    @pytest.mark.rule("loops.8")
    async def test_drained_means_done(self, lane: LaneFactory) -> None:
        """And a drained lane may be fed again, and drained again."""
        done: list[int] = []
        async with lane(done.append) as feeding:
            await feeding.drain()
            for number in range(3):
                await feeding.feed(number)
                await feeding.drain()

                assert done == list(range(number + 1))

    @pytest.mark.rule("loops.9")
    async def test_a_failure_surfaces(self, lane: LaneFactory) -> None:
        """In the next feed or drain at the latest, and what comes behind it is not worked on."""
        done: list[int] = []

        def fails_at_two(number: int) -> None:
            if number == 2:
                raise KeyError(number)
            done.append(number)

        with pytest.raises(KeyError, match="2"):  # noqa: PT012 - which of them raises, is open
            async with lane(fails_at_two) as feeding:
                for number in range(10):
                    await feeding.feed(number)
                await feeding.drain()

        assert done == [0, 1]

    @pytest.mark.rule("loops.9")
    async def test_a_failure_stays(self, lane: LaneFactory) -> None:
        """A lane that failed does not drain as if nothing had been."""

        def fails(_: int) -> None:
            raise KeyError

        async with lane(fails) as feeding:
            with pytest.raises(KeyError):
                await _feed_and_drain(feeding)
            with pytest.raises(KeyError):
                await _feed_and_drain(feeding)

    async def test_repeated_refusals_do_not_wait(self, lane: LaneFactory) -> None:
        """A feed that raises takes no room: what drains the lane after it is answered, too."""

        def fails(_: int) -> None:
            raise KeyError

        with anyio.fail_after(PATIENCE):
            async with lane(fails) as feeding:
                for _ in range(3 * DEPTH):
                    with suppress(KeyError):
                        await feeding.feed(0)
                with pytest.raises(KeyError):
                    await _feed_and_drain(feeding)
                with suppress(KeyError):
                    await feeding.drain()

    @pytest.mark.rule("loops.12")
    async def test_items_are_let_go_when_they_are_done(self, lane: LaneFactory) -> None:
        """Their lifetime is their memory: the last one is not kept while waiting for more."""
        done: list[str] = []

        def work(item: Item) -> None:
            done.append(type(item).__name__)

        async with lane(work) as feeding:
            items = [Item() for _ in range(3)]
            seen = [weakref.ref(item) for item in items]
            while items:
                await feeding.feed(items.pop())
            await feeding.drain()

            assert [item() for item in seen] == [None] * 3
            assert done == ["Item"] * 3

    async def test_leaving_without_draining_is_allowed(self, lane: LaneFactory) -> None:
        """An upload that fails elsewhere just leaves."""
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - it fails inside
            async with lane(_do_nothing) as feeding:
                await feeding.feed(1)
                raise ZeroDivisionError


class TestInlineLane(LaneContract):
    """The lane without a thread."""

    @pytest.fixture
    def lane(self) -> LaneFactory:
        """The lane to examine."""
        return InlineLane


class TestThreadLane(LaneContract):
    """The lane in a thread."""

    @pytest.fixture
    def lane(self) -> LaneFactory:
        """The lane to examine."""
        return ThreadLane

    async def test_the_event_loop_goes_on_meanwhile(self, gate: threading.Event) -> None:
        """Long work delays only its own lane."""
        async with ThreadLane[int](_wait_for(gate)) as feeding:
            await feeding.feed(1)
            await asyncio.sleep(0)
            gate.set()
            await feeding.drain()

    async def test_a_lane_that_is_not_fed_has_no_thread(self) -> None:
        """Most uploads are flushed once, at their end."""
        before = set(threading.enumerate())
        async with ThreadLane[int](print) as unused:
            await unused.drain()
            assert set(threading.enumerate()) <= before

    async def test_a_lane_that_gets_no_thread_closes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The system has no more of them: nothing runs that could be waited for."""

        def no_more(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", no_more)
        with anyio.fail_after(10), pytest.raises(RuntimeError):
            async with ThreadLane[int](print, close_timeout_seconds=60) as feeding:
                await feeding.feed(1)

    async def test_a_drain_that_is_cancelled_takes_no_room(self, gate: threading.Event) -> None:
        """Its client has gone, and what had come is digested all the same."""
        with anyio.fail_after(PATIENCE):
            async with ThreadLane[int](_wait_for(gate)) as feeding:
                await feeding.feed(1)
                draining = asyncio.create_task(feeding.drain())
                for _ in range(DEPTH):
                    await asyncio.sleep(0)
                draining.cancel()
                await asyncio.wait([draining])
                gate.set()

                await feeding.drain()

    @pytest.mark.rule("loops.8")
    async def test_feeding_waits_while_so_many_items_are_unfinished(
        self, gate: threading.Event
    ) -> None:
        """So that memory is bounded, however fast a client sends."""
        fed = 0

        async def feed_all() -> None:
            nonlocal fed
            for number in range(3 * DEPTH):
                await feeding.feed(number)
                fed += 1

        async with ThreadLane[int](_wait_for(gate)) as feeding:
            feeder = asyncio.create_task(feed_all())
            await _until(lambda: fed == DEPTH)
            for _ in range(100):
                await asyncio.sleep(0)
            unfinished_at_most = fed
            gate.set()
            await feeder
            await feeding.drain()

        assert unfinished_at_most == DEPTH
        assert fed == 3 * DEPTH

    @pytest.mark.rule("loops.10", "loops.11")
    async def test_leaving_waits_for_the_item_under_way_and_drops_the_rest(self) -> None:
        """What is being written is written; what was not begun never is."""
        gate, begun = threading.Event(), threading.Event()
        done: list[int] = []

        def work(number: int) -> None:
            begun.set()
            gate.wait(PATIENCE)
            done.append(number)

        async def use() -> None:
            async with ThreadLane[int](work) as feeding:
                for number in range(3):
                    await feeding.feed(number)
                await asyncio.sleep(PATIENCE)

        user = asyncio.create_task(use())
        await _until(begun.is_set)
        user.cancel()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not user.done()

        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await user
        assert done == [0]

    async def test_a_feeder_that_waits_can_be_cancelled(self, gate: threading.Event) -> None:
        """Its client went away while the lane was full: it leaves, and so does its thread."""
        before = set(threading.enumerate())
        with anyio.move_on_after(0.05) as scope:
            async with ThreadLane[int](_wait_for(gate)) as feeding:
                for number in range(DEPTH):
                    await feeding.feed(number)
                asyncio.get_running_loop().call_later(0.1, gate.set)
                await feeding.feed(DEPTH)
        assert scope.cancelled_caught

        await _until(lambda: set(threading.enumerate()) <= before)

    async def test_closing_waits_for_an_item_until_a_timeout(self, gate: threading.Event) -> None:
        """A stalled disk keeps its thread, and nothing else."""
        async with ThreadLane[int](_wait_for(gate), close_timeout_seconds=0.01) as feeding:
            await feeding.feed(1)

        assert not gate.is_set()

    async def test_items_that_were_dropped_are_let_go(self, gate: threading.Event) -> None:
        """Nothing keeps them, neither the queue nor the thread that has ended."""
        async with ThreadLane[Item](_wait_for(gate)) as feeding:
            items = [Item() for _ in range(DEPTH)]
            seen = [weakref.ref(item) for item in items]
            while items:
                await feeding.feed(items.pop())
            gate.set()
        gc.collect()

        await _until(lambda: [item() for item in seen] == [None] * DEPTH)

    async def test_each_lane_has_a_thread_of_its_own(self, gate: threading.Event) -> None:
        """One that is stuck does not hold up another."""
        done: list[int] = []
        async with (
            ThreadLane[int](_wait_for(gate)) as stuck,
            ThreadLane[int](done.append) as other,
        ):
            await stuck.feed(1)
            await other.feed(2)
            await other.drain()
            gate.set()

            assert done == [2]

    @pytest.mark.parametrize("lane", [ThreadLane, BackgroundLane])
    async def test_lanes_give_way_to_the_event_loop(self, lane: type[ThreadLane[int]]) -> None:
        """Their threads are nicer than it, and it stays as nice as it was."""
        before = os.getpriority(os.PRIO_PROCESS, 0)
        seen: list[int] = []

        def work(_: int) -> None:
            seen.append(os.getpriority(os.PRIO_PROCESS, 0))

        async with lane(work) as feeding:
            await _feed_and_drain(feeding)

        assert seen == [min(before + lane.niceness, NICEST)]
        assert os.getpriority(os.PRIO_PROCESS, 0) == before

    async def test_a_thread_that_was_left_behind_ends_quietly(self) -> None:
        """Its loop was closed meanwhile."""
        gate, threads = threading.Event(), threading.active_count()

        def abandon() -> None:
            loop = asyncio.new_event_loop()
            loop.run_until_complete(_feed_one(gate))
            loop.close()

        await asyncio.to_thread(abandon)
        gate.set()
        await _until(lambda: threading.active_count() <= threads + 1)  # to_thread keeps its own


class TestCpuSlots:
    """Work that computes takes slots, so that little stands between the loop and a processor."""

    @pytest.mark.parametrize(
        ("lane", "computes", "waits"),
        [
            (ThreadLane, True, True),
            (ThreadLane, False, False),  # a disk is waited for beside others
            (BackgroundLane, True, True),
            (BackgroundLane, False, True),
        ],
    )
    async def test_what_waits_for_a_slot(
        self, lane: type[ThreadLane[int]], computes: bool, waits: bool
    ) -> None:
        """Where all slots are taken: work that computes, and background work."""
        slots = CpuSlots(1, PATIENCE)
        done: list[int] = []
        async with lane(done.append, computes=computes, slots=slots) as working:
            with slots.acquire():
                await working.feed(1)
                if waits:
                    await asyncio.sleep(0.01)  # time to be done, were that allowed
                    assert not done
                else:
                    await working.drain()
            await working.drain()

        assert done == [1]

    async def test_one_that_hangs_does_not_keep_its_slot(self, gate: threading.Event) -> None:
        """A stalled disk slows other tasks down, and stops none."""
        slots = CpuSlots(1, 0.01)
        done: list[int] = []
        async with (
            BackgroundLane[int](_wait_for(gate), slots=slots) as stuck,
            BackgroundLane[int](done.append, slots=slots) as other,
        ):
            await stuck.feed(1)
            await other.feed(2)
            await other.drain()
            gate.set()

            assert done == [2]

    async def test_slots_come_back(self) -> None:
        """Also from work that failed; and one that never came is not given back."""
        slots = CpuSlots(1)
        with suppress(ZeroDivisionError), slots.acquire() as came:
            assert came
            with slots.acquire() as came_twice:
                assert not came_twice
            raise ZeroDivisionError

        with slots.acquire() as came:
            assert came

    async def test_tasks_leave_one_processor_alone(self) -> None:
        """Where there are several."""
        assert BackgroundLane.slots.at_once == max(1, ThreadLane.slots.at_once - 1)
        assert ThreadLane.slots.at_once == len(os.sched_getaffinity(0))


def _wait_for(gate: threading.Event) -> Callable[[object], None]:
    def work(_: object) -> None:
        gate.wait(PATIENCE)

    return work


def _do_nothing(_: int) -> None:
    return


async def _feed_and_drain(feeding: Lane[int]) -> None:
    await feeding.feed(1)
    await feeding.drain()


async def _feed_one(gate: threading.Event) -> None:
    async with ThreadLane[int](_wait_for(gate), close_timeout_seconds=0.01) as feeding:
        await feeding.feed(1)


async def _until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - threads do not say when
            await asyncio.sleep(0.001)
