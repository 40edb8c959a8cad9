"""Runs jobs periodically: run, pause, run again, until cancelled.

A failing item must not block the others: a row that another session has locked, or that a database
rule refuses to change, fails again and again, and every round would end there. So an item that
fails is postponed (``ItemBackoff``). If the catalog itself does not answer, the round ends.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import TypeVar

import anyio
import structlog

from imaged.core.errors import CatalogError, ImagedError
from imaged.core.retry_policy import RetryPolicy

log = structlog.get_logger()

T = TypeVar("T")

JITTER = 0.1  # spreads the rounds of several instances
#: The longest pause limits the wait of an item after its trouble is over.
ITEM_RETRIES = RetryPolicy(first_pause=timedelta(seconds=10), longest_pause=timedelta(minutes=1))
FORGOTTEN_AFTER = timedelta(minutes=10)  # an item that did not return: others processed it


class Wakeup:
    """Ends a pause early."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._wakes_at = -inf

    @property
    def remaining(self) -> timedelta:
        """The remaining time of the current pause; 0 without one."""
        return timedelta(seconds=max(0.0, self._wakes_at - anyio.current_time()))

    def wake(self) -> None:
        """End the current pause, or the next one."""
        self._event.set()

    async def pause(self, pause: timedelta) -> None:
        """Wait for this time, or until ``wake`` is called."""
        with anyio.move_on_after(pause.total_seconds()) as scope:
            self._wakes_at = scope.deadline
            await self._event.wait()
        self._wakes_at = -inf
        self._event = anyio.Event()


class Problem:
    """What is wrong with one part; empty if nothing is. It is logged once, until it changes."""

    def __init__(self) -> None:
        self.text = ""

    def set(self, text: str) -> bool:
        """Replace the text; return whether it has changed."""
        has_changed = text != self.text
        self.text = text
        return has_changed


async def run_periodically(
    duty: str,
    once: Callable[[], Awaitable[object]],
    every: Callable[[], timedelta],
    wakeup: Wakeup | None = None,
) -> None:
    """Run a job until cancelled. Errors are logged, once per change, and the next round retries.

    ``every`` is called before each pause, so that a reloaded setting applies immediately.
    """
    wakeup, problem = wakeup or Wakeup(), Problem()
    while True:
        try:
            await once()
            problem.set("")
        except ImagedError as error:
            if problem.set(str(error)):
                _log_failure(duty, error)
        except Exception as error:
            if problem.set(repr(error)):
                log.exception("duty.crashed", duty=duty)
        await wakeup.pause(every() * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret


def _log_failure(duty: str, error: ImagedError) -> None:
    if error.is_outage:
        log.debug("duty.failed", duty=duty, error=str(error))
    else:
        log.warning("duty.failed", duty=duty, error=str(error))


async def is_made(change: Awaitable[object]) -> bool:
    """Await a change of the catalog; False if it was refused, because others changed the item
    before.

    Raises CatalogError.
    """
    try:
        await change
    except CatalogError:
        raise
    except ImagedError:
        return False
    return True


async def run_all_steps(*steps: Callable[[], Awaitable[object]]) -> None:
    """Run all steps of a round, even if one of them fails.

    Raises the first ImagedError of a step, after the last step.
    """
    failure: ImagedError | None = None
    for step in steps:
        try:
            await step()
        except ImagedError as error:
            failure = failure or error
    if failure is not None:
        raise failure


@dataclass(slots=True)
class FailedItem:
    """An item that failed."""

    failures: int
    error: str
    again_at: float  # seconds of the event loop's clock


class ItemBackoff:
    """The failed items of one job of this process.

    The pause after the first failure is 10 s and grows with each further one, up to 1 min: after
    its trouble is over, an item waits no longer than a lease. ``check`` raises CatalogError if the
    catalog fails rather than a single item.
    """

    def __init__(self, duty: str, check: Callable[[], Awaitable[None]]) -> None:
        self.duty = duty
        self._check = check
        self._failed: dict[str, FailedItem] = {}
        self.failures = 0  # since the start of the process

    def __len__(self) -> int:
        """The number of postponed items."""
        return len(self._failed)

    @property
    def troubles(self) -> list[str]:
        """A sentence for each postponed item, the one with most failures first."""
        self._forget_gone()
        setbacks = sorted(self._failed.items(), key=lambda pair: -pair[1].failures)
        return [
            f"{self.duty}: {item} failed {setback.failures} times: {setback.error}"
            for item, setback in setbacks
        ]

    def is_waiting(self, item: str) -> bool:
        """Whether the item is still postponed."""
        setback = self._failed.get(item)
        return setback is not None and anyio.current_time() < setback.again_at

    async def try_item(self, item: str, work: Callable[[], Awaitable[T]]) -> T | None:
        """Run the work on an item and return its result; None if it failed, or is postponed.

        Raises CatalogError if the catalog does not answer at all.
        """
        if self.is_waiting(item):
            return None
        try:
            result = await work()
        except Exception as error:  # noqa: BLE001 - it is logged, and others have their turn
            if isinstance(error, CatalogError):
                await self._check()
            self._put_off(item, error)
            return None
        self._failed.pop(item, None)
        return result

    async def try_items(
        self, works: Mapping[str, Callable[[], Awaitable[T]]], at_once: int
    ) -> Sequence[T | None]:
        """Do what ``try_item`` does for each item, so many at once. Raises CatalogError if the
        catalog does not answer at all; items that were not begun are left.
        """
        limiter = anyio.Semaphore(at_once)
        results: list[T | None] = []
        outage: CatalogError | None = None

        async def run(item: str, work: Callable[[], Awaitable[T]]) -> None:
            nonlocal outage
            async with limiter:
                try:
                    results.append(None if outage else await self.try_item(item, work))
                except CatalogError as error:
                    outage = error

        async with anyio.create_task_group() as tasks:
            for item, work in works.items():
                tasks.start_soon(run, item, work)
        if outage is not None:
            raise outage
        return results

    def _put_off(self, item: str, error: Exception) -> None:
        self._forget_gone()
        now, sentence = anyio.current_time(), str(error) or type(error).__name__
        known = self._failed.get(item)
        failures = 1 if known is None else known.failures + 1
        pause = ITEM_RETRIES.pause(failures)
        self._failed[item] = FailedItem(failures, sentence, now + pause.total_seconds())
        self.failures += 1
        if known is not None and known.error == sentence:
            return  # reported already
        log.warning(
            "item.put_off",
            duty=self.duty,
            item=item,
            error=sentence,
            again_in_s=pause.total_seconds(),
            exc_info=None if isinstance(error, ImagedError) else error,
        )

    def _forget_gone(self) -> None:
        """Drop items that were due long ago and did not appear again."""
        moment = anyio.current_time() - FORGOTTEN_AFTER.total_seconds()
        gone = [item for item, setback in self._failed.items() if setback.again_at < moment]
        for item in gone:
            del self._failed[item]
