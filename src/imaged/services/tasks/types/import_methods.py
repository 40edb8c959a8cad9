"""The methods of an import call: the sources of the bytes of an existing image."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from imaged.core.errors import (
    BlobGone,
    DataDamaged,
    FetchRefused,
    ImportNotReady,
    InvalidRequest,
    TaskFailed,
)
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.limits import MIB
from imaged.ports.fetcher import Fetcher
from imaged.ports.store import BlobReader, Stores
from imaged.services.downloads import log_damage
from imaged.services.ingest_pipeline import StoredSource
from imaged.services.tasks.context import TaskContext

GLANCE_DIRECT = "glance-direct"  # named as in the API
WEB_DOWNLOAD = "web-download"


@dataclass(frozen=True, slots=True)
class ImportSource:
    """An open source of bytes."""

    chunks: AsyncIterator[bytes]
    size_bytes: int | None = None
    host: str = ""  # the sender; "" for staged data
    has_own_timeout: bool = False  # the source limits its own waiting time
    source: StoredSource | None = None  # the staged data; None if an earlier version stored it


class ImportMethod(Protocol):
    """A source of bytes; ``arguments`` are those of the call's ``method``."""

    def require_ready(self, image: Image) -> None:
        """Raise ImportNotReady if the image is not ready for this method."""
        ...

    async def check(self, arguments: Mapping[str, Any], owner: str) -> None:
        """Refuse what can be refused immediately; ``owner`` is the requesting project.

        Raises InvalidRequest, FetchRefused.
        """
        ...

    def open(
        self, context: TaskContext, arguments: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[ImportSource]:
        """Open the source; the next attempt may open it again."""
        ...


class StagedBytes:
    """The bytes uploaded to ``/v2/images/{id}/stage``."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def require_ready(self, image: Image) -> None:
        """Raise ImportNotReady if no data was staged."""
        if image.status is Status.QUEUED:
            raise ImportNotReady(f"its data has to be staged before {GLANCE_DIRECT!r} is asked for")

    async def check(self, arguments: Mapping[str, Any], owner: str) -> None:
        """Refuse arguments. Raises InvalidRequest."""
        del owner
        # gophercloud names a URI for every method: an empty one for this.
        _require_known(GLANCE_DIRECT, arguments, () if arguments.get("uri") else ("uri",))

    @asynccontextmanager
    async def open(
        self, context: TaskContext, arguments: Mapping[str, Any]
    ) -> AsyncIterator[ImportSource]:
        """Open the staged bytes. Raises BlobGone if there are none; BlobMissing; TaskFailed if the
        import finds that they are damaged.
        """
        del arguments
        image, staged = context.image, context.image.staged
        if staged is None:
            raise BlobGone(image.id)
        store = self._stores.pick(staged.store)
        content = image.staged_content
        source = None if content is None else StoredSource(staged.store, content)
        async with aclosing(read_chunks(store.open(staged.key))) as chunks:
            try:
                yield ImportSource(chunks, staged.size_bytes, source=source)
            except DataDamaged as damage:
                log_damage(image.id, damage.problems)
                problems = " ".join(damage.problems)
                remedy = "Stage it again, with the header X-Imaged-Replace: true."
                raise TaskFailed(f"The staged data is damaged. {problems} {remedy}") from damage


class WebDownload:
    """The content of a URL."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def require_ready(self, image: Image) -> None:
        """Raise ImportNotReady if the image has data, or is being written."""
        if image.status is not Status.QUEUED:
            raise ImportNotReady(f"it is {image.status}, and has to be queued for {WEB_DOWNLOAD!r}")

    async def check(self, arguments: Mapping[str, Any], owner: str) -> None:
        """Check the URL. Raises InvalidRequest, FetchRefused."""
        _require_known(WEB_DOWNLOAD, arguments, ("uri",))
        uri = arguments.get("uri")
        if not isinstance(uri, str) or not uri:
            raise InvalidRequest(
                f"The import method {WEB_DOWNLOAD!r} needs a 'uri', which is a string."
            )
        try:
            await self._fetcher.check(uri, owner=owner)
        except FetchRefused as error:
            raise InvalidRequest(f"The 'uri' cannot be fetched: {error.reason}.") from error

    @asynccontextmanager
    async def open(
        self, context: TaskContext, arguments: Mapping[str, Any]
    ) -> AsyncIterator[ImportSource]:
        """Begin to fetch. Raises FetchFailed."""
        owner = context.task.owner
        context.rely_on_own_timeout()
        async with self._fetcher.open(arguments["uri"], owner=owner) as fetched:
            yield ImportSource(
                fetched.chunks, fetched.size_bytes, fetched.host, has_own_timeout=True
            )


def _require_known(method: str, arguments: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in arguments:
        if name not in {"name", *known}:
            raise InvalidRequest(f"The import method {method!r} has no argument {name!r}.")


async def read_chunks(
    opening: AbstractAsyncContextManager[BlobReader], length: Callable[[], int] = lambda: MIB
) -> AsyncGenerator[bytes]:
    """All bytes of a blob, in chunks of ``length()``. Raises BlobMissing, StoreError."""
    async with opening as reader:
        while chunk := await reader.read(length()):
            yield chunk
