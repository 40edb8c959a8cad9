"""A clone of an image in another service: first its record is fetched, then its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from imaged.core.access import Caller
from imaged.core.errors import FetchRefused, InvalidInput, TaskFailed
from imaged.core.limits import MIB
from imaged.ports.fetcher import Fetched, Fetcher
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.stream_checks import StreamCheckFactory, StreamChecks
from imaged.services.tasks.types.remote_image import (
    RemoteAddress,
    RemoteImage,
    parse_address,
    read_image,
)

FETCHING = "fetching"

MAX_RECORD_BYTES = MIB


@dataclass(frozen=True, slots=True)
class RemoteImageClient:
    """Fetches images of other services. A token is sent only to the service that it is for."""

    fetcher: Fetcher
    check_factory: StreamCheckFactory

    async def check(self, url: str, caller: Caller) -> None:
        """Refuse what can be refused without a connection. Raises InvalidInput."""
        try:
            await self.fetcher.check(parse_address(url).url, owner=caller.project)
        except FetchRefused as error:
            raise InvalidInput("source_image_url", f"cannot be fetched: {error.reason}") from error

    async def describe(self, caller: Caller, url: str, token: str) -> RemoteImage:
        """Fetch the image's record. Raises InvalidInput, FetchFailed."""
        address = parse_address(url)
        return read_image(caller, address, await self._record(address, token, caller.project))

    async def store(
        self, context: TaskContext, remote: RemoteImage, token: str, store: str | None
    ) -> None:
        """Fetch its bytes into a store. Raises FetchFailed, and the errors of ``context.store``."""
        address = remote.address
        owner = context.task.owner
        context.rely_on_own_timeout()
        async with self.fetcher.open(
            address.data_url,
            _headers(token),
            owner=owner,
            is_compared=remote.digest is not None,
        ) as fetched:
            if fetched.size_bytes not in {None, remote.size_bytes}:
                why = f"it sends {fetched.size_bytes} bytes of an image of {remote.size_bytes}"
                raise address.refusal("answer", why)
            stream_checks = self._stream_checks(context, remote, fetched)
            async with aclosing(stream_checks.of(fetched.chunks)) as body:
                try:
                    await context.store(
                        body,
                        announced_bytes=remote.size_bytes,
                        store=store,
                        phase=FETCHING,
                        has_own_timeout=True,
                    )
                except TaskFailed as verdict:
                    raise address.refusal("body", str(verdict).rstrip(".")) from verdict

    async def _record(self, address: RemoteAddress, token: str, owner: str) -> bytes:
        headers = {"Accept": "application/json", **_headers(token)}
        record = bytearray()
        async with self.fetcher.open(address.url, headers, owner=owner) as fetched:
            async for chunk in fetched.chunks:
                record += chunk
                if len(record) > MAX_RECORD_BYTES:
                    why = f"the record of the image has more than {MAX_RECORD_BYTES} bytes"
                    raise address.refusal("answer", why)
        return bytes(record)

    def _stream_checks(
        self, context: TaskContext, remote: RemoteImage, fetched: Fetched
    ) -> StreamChecks:
        stream_checks = self.check_factory.begin_import(
            context,
            disk_format=context.image.disk_format or "",
            properties=context.image.properties,
            source=fetched.host,
        )
        if remote.digest is not None:
            stream_checks.expect(*remote.digest)
        return stream_checks


def _headers(token: str) -> Mapping[str, str]:
    return {"X-Auth-Token": token} if token else {}
