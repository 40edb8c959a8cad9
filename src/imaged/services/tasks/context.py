"""The context of one attempt: the task, its progress, its streams, and the image that it writes."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from uuid import UUID

import anyio
import structlog

from imaged.core.access import Caller
from imaged.core.edits import describe
from imaged.core.errors import CatalogError, TaskStalled
from imaged.core.image import (
    ClaimedChange,
    Content,
    Formats,
    Image,
    Location,
    unless_formats_changed,
)
from imaged.core.image_schema import ImageSchema
from imaged.core.policy import Policy
from imaged.core.task import Progress, Task, finish_task
from imaged.core.task_access import caller_of
from imaged.core.uploading import share_to_finish, store_data
from imaged.lanes import BackgroundLane, LaneFactory
from imaged.ports.disk_image import ImportCheck, ImportFacts
from imaged.ports.image_catalog import TaskCatalog
from imaged.services.claimed import ClaimedImage, ClaimedTask
from imaged.services.ingest import Ingester
from imaged.services.ingest_pipeline import StoredSource
from imaged.services.stream_checks import StreamChecks

log = structlog.get_logger()

PROGRESS_INTERVAL = timedelta(seconds=1)  # at most; a new phase is written immediately

# Phases that several types report.
FETCHING = "fetching"
READING = "reading"
READING_BACK = "reading back"
STORING = "storing"


class TaskContext:
    """One attempt at one task."""

    def __init__(
        self,
        catalog: TaskCatalog,
        ingest: Ingester,
        work: ClaimedImage | ClaimedTask,
        task: Task,
        *,
        policy: Policy,
        schema: ImageSchema,
    ) -> None:
        self._catalog = catalog
        self._ingest = ingest
        self._work = work
        self._progress: Progress | None = None
        self._written_at = -inf
        self._scope: anyio.CancelScope | None = None  # of the attempt, while it may stall
        self._stalled_after_seconds = inf
        self._ending: tuple[Content | None, Image | None] = (None, None)
        no_image = Formats(None, None)
        self._inspected_as = no_image if isinstance(work, ClaimedTask) else work.image.formats
        self._policy = policy
        self.task = task
        self.schema = schema  # that images obey which become known now

    @property
    def caller(self) -> Caller:
        """The creator of the task, with the roles that it had then and the rules of now."""
        return caller_of(self.task, self._policy)

    @property
    def attempt(self) -> UUID:
        """The id of this attempt, unique; temporary files may be named after it."""
        return self._work.claim.token

    @property
    def image(self) -> Image:
        """The image that it writes, as last read. Raises TypeError if there is none."""
        return self._writing.image

    async def progress(
        self,
        phase: str,
        done_bytes: int | None = None,
        total_bytes: int | None = None,
        *,
        has_own_timeout: bool = False,
    ) -> None:
        """Report progress, at any rate. A report that cannot be stored is not an error.

        An attempt that reports no progress for too long has stalled, unless the current step
        ``has_own_timeout``: then there is no limit until the next call.
        """
        told = Progress(phase, done_bytes, total_bytes)
        if told != self._progress:
            self._restart_stall_timer(has_own_timeout=has_own_timeout)
        is_new = self._progress is None or self._progress.phase != phase
        self._progress = told
        if is_new:
            log.debug("task.phase_began", phase=phase)
        elif anyio.current_time() - self._written_at < PROGRESS_INTERVAL.total_seconds():
            return
        self._written_at = anyio.current_time()
        try:
            await self._catalog.update_task_progress(
                self.task.id, self.task.attempts, self._progress
            )
        except CatalogError as error:
            log.debug("task.progress_lost", error=str(error))

    async def counted(
        self,
        phase: str,
        body: AsyncIterable[bytes],
        total_bytes: int | None = None,
        *,
        has_own_timeout: bool = False,
    ) -> AsyncGenerator[bytes]:
        """The same chunks; the bytes passed are reported as progress.

        ``has_own_timeout``: the body limits its own waiting time.
        """
        done_bytes = 0
        await self.progress(phase, done_bytes, total_bytes, has_own_timeout=has_own_timeout)
        async for chunk in body:
            self._restart_stall_timer(has_own_timeout=False)
            yield chunk
            done_bytes += len(chunk)
            await self.progress(phase, done_bytes, total_bytes, has_own_timeout=has_own_timeout)
        self._restart_stall_timer(has_own_timeout=False)
        self._written_at = -inf  # the end is always reported
        await self.progress(phase, done_bytes, total_bytes)

    @contextmanager
    def cancel_if_stalled(self, stalled_after: timedelta) -> Iterator[None]:
        """Cancel the block if no progress is reported for this time. Raises TaskStalled.

        The scope has a deadline, which progress extends. A thread that hangs in a system call is
        abandoned, and the attempt ends without it.
        """
        self._stalled_after_seconds = stalled_after.total_seconds()
        with anyio.CancelScope() as self._scope:
            self._restart_stall_timer(has_own_timeout=False)
            yield
        if self._scope.cancelled_caught:
            phase = self._progress.phase if self._progress else "at its beginning"
            raise TaskStalled(phase, self._stalled_after_seconds)

    def rely_on_own_timeout(self) -> None:
        """Disable the stall timer until the next progress: the other service has its own
        timeouts.
        """
        self._restart_stall_timer(has_own_timeout=True)

    def _restart_stall_timer(self, *, has_own_timeout: bool) -> None:
        """Restart the stall timer, or disable it for a step that has its own timeout."""
        if self._scope is not None:
            now = anyio.current_time()
            self._scope.deadline = inf if has_own_timeout else now + self._stalled_after_seconds

    # For types that write an image: the end of the work.

    async def describe(self, model: Image) -> None:
        """Copy the metadata of ``model`` that is known only now to the draft. Raises ClaimLost."""
        self._inspected_as = (await self._writing.change(describe(model))).formats

    async def store(
        self,
        body: AsyncIterable[bytes],
        *,
        announced_bytes: int | None = None,
        store: str | None = None,
        source: StoredSource | None = None,
        phase: str = STORING,
        has_own_timeout: bool = False,
    ) -> Content:
        """Make the body the data of the image, with all limits, digests and inspections.

        ``source``: where the body is read from, if it was stored before. ``has_own_timeout``: as
        for ``counted``. Raises UnknownStore, TooLarge, DataRefused, DataDamaged, QuotaExceeded,
        StoreError, ClaimLost, CatalogError, and the errors of ``body``.
        """
        async with aclosing(
            self.counted(phase, body, announced_bytes, has_own_timeout=has_own_timeout)
        ) as counted:
            content = await self._ingest.store(
                self._writing,
                counted,
                announced_bytes=announced_bytes,
                store=store,
                source=source,
            )
        self.set_content(content)
        return content

    @asynccontextmanager
    async def reserve_location(self, store: str | None, size_bytes: int) -> AsyncIterator[Location]:
        """A location for bytes that do not pass through this process; ``set_content`` records their
        content.

        Raises UnknownStore, QuotaExceeded, ClaimLost.
        """
        async with self._ingest.reserve_location(self._writing, store, size_bytes) as location:
            yield location

    def set_content(self, content: Content) -> None:
        """Record that the bytes at the image's location are complete and durable, with this
        content.
        """
        self._ending = (content, None)

    def share(self, source: Image) -> None:
        """End as a clone: the image shares the bytes of the source."""
        self._ending = (None, source)

    # For the runner.

    async def finish(self, result: Mapping[str, object]) -> None:
        """Write the result, and the change of the image, in one transaction.

        Raises ClaimLost; FormatsChanged if the image was patched since the attempt began.
        """
        if isinstance(self._work, ClaimedTask):
            await self._work.finish(finish_task(result))
        else:
            await self._work.finish(unless_formats_changed(self._inspected_as, self._end(result)))

    @property
    def _writing(self) -> ClaimedImage:
        if isinstance(self._work, ClaimedTask):
            raise TypeError(f"a task of the type {self.task.type} writes no image")
        return self._work

    def _end(self, result: Mapping[str, object]) -> ClaimedChange:
        match self._ending:
            case (Content() as content, _):
                return store_data(content, result)
            case (_, Image() as source):
                return share_to_finish(source, result)
            case _:
                raise LookupError(f"a task of the type {self.task.type} wrote no image")


@dataclass(frozen=True, slots=True)
class StreamCheckFactory:
    """Creates the checks of a task's stream. ``max_size_bytes`` is called for each of them."""

    max_size_bytes: Callable[[], int]
    checks: Sequence[ImportCheck] = ()
    lanes: LaneFactory = BackgroundLane

    def begin(self) -> StreamChecks:
        """Checks that only limit the size so far."""
        return StreamChecks(self.lanes, self.max_size_bytes())

    def begin_import(
        self,
        image: Image,
        source: str,
        *,
        disk_format: str | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> StreamChecks:
        """Checks for bytes from outside, including those of the deployer.

        ``source``: the host that sends them. ``disk_format`` and ``properties`` are those of the
        image, unless they are given.
        """
        facts = ImportFacts(
            owner=image.owner,
            disk_format=disk_format or image.disk_format or "",
            properties=image.properties if properties is None else properties,
            source=source,
        )
        stream_checks = self.begin()
        for check in self.checks:
            stream_checks.check(check.name, check.begin(facts))
        return stream_checks
