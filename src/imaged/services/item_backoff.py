"""Items of a duty that fail by themselves: each is put off, and no other item waits for it.

A row that another session has locked, or that a rule of the database refuses to change, fails
again and again. Without this, every round of its duty would end there, before the items behind it.
A catalog that does not answer is another matter: then the round ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import anyio
import structlog

from imaged.core.blob import retry_delay
from imaged.core.errors import CatalogError, ImagedError

log = structlog.get_logger()

T = TypeVar("T")

MAX_ITEM_PAUSE = timedelta(minutes=1)  # when its trouble is over, an item waits no longer than that
FORGOTTEN_AFTER = timedelta(minutes=10)  # an item that did not come again: others had success


@dataclass(slots=True)
class FailedItem:
    """An item that failed."""

    failures: int
    error: str
    again_at: float  # seconds of the event loop's clock


class ItemBackoff:
    """The failed items of one duty of this process.

    The pause after the first failure is 10 s, and longer after each other one, up to a minute: so
    nothing waits longer than a lease does when its trouble is over. ``check`` raises CatalogError
    where it is the catalog that fails, and not one item of it.
    """

    def __init__(self, duty: str, check: Callable[[], Awaitable[None]]) -> None:
        self.duty = duty
        self._check = check
        self._failed: dict[str, FailedItem] = {}
        self.failures = 0  # since the process began

    def __len__(self) -> int:
        """How many items are put off."""
        return len(self._failed)

    @property
    def troubles(self) -> list[str]:
        """A sentence for each item that is put off, the one that failed most often first."""
        self._forget_gone()
        setbacks = sorted(self._failed.items(), key=lambda pair: -pair[1].failures)
        return [
            f"{self.duty}: {item} failed {setback.failures} times: {setback.error}"
            for item, setback in setbacks
        ]

    def is_waiting(self, item: str) -> bool:
        """Whether it is not yet this item's turn again."""
        setback = self._failed.get(item)
        return setback is not None and anyio.current_time() < setback.again_at

    async def try_item(self, item: str, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do the work on an item and return its result; None if it failed, or has to wait.

        Raises CatalogError if the catalog does not answer at all.
        """
        if self.is_waiting(item):
            return None
        try:
            result = await work()
        except Exception as error:  # noqa: BLE001 - it is told, and others have their turn
            if isinstance(error, CatalogError):
                await self._check()
            self._put_off(item, error)
            return None
        self._failed.pop(item, None)
        return result

    def _put_off(self, item: str, error: Exception) -> None:
        self._forget_gone()
        now, sentence = anyio.current_time(), str(error) or type(error).__name__
        known = self._failed.get(item)
        failures = 1 if known is None else known.failures + 1
        pause = min(retry_delay(failures), MAX_ITEM_PAUSE)
        self._failed[item] = FailedItem(failures, sentence, now + pause.total_seconds())
        self.failures += 1
        if known is not None and known.error == sentence:
            return  # told already
        log.warning(
            "item.put_off",
            duty=self.duty,
            item=item,
            error=sentence,
            again_in_s=pause.total_seconds(),
            exc_info=None if isinstance(error, ImagedError) else error,
        )

    def _forget_gone(self) -> None:
        """Remember no items that were due long ago and did not come again."""
        moment = anyio.current_time() - FORGOTTEN_AFTER.total_seconds()
        gone = [item for item, setback in self._failed.items() if setback.again_at < moment]
        for item in gone:
            del self._failed[item]


async def run_all_steps(*steps: Callable[[], Awaitable[object]]) -> None:
    """Run the steps of a round, each also where one before it failed.

    Raises the first ImagedError that a step raised, after the last step.
    """
    failure: ImagedError | None = None
    for step in steps:
        try:
            await step()
        except ImagedError as error:
            failure = failure or error
    if failure is not None:
        raise failure
