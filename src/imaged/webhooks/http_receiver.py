"""Sends events to a URL, one in each request."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from importlib.metadata import version
from time import time
from uuid import UUID

import aiohttp
from yarl import URL

from imaged.core.errors import EventRefused, ReceiverError
from imaged.core.outbox import OutboxEvent
from imaged.webhooks.cloud_event import MEDIA_TYPE, cloud_event
from imaged.webhooks.settings import WebhookSettings
from imaged.webhooks.signature import signature_headers

#: Answers about what the event contains; all others are about the receiver.
EVENT_STATUSES = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
ANSWER_BYTES = 4096  # read of an answer, so that its connection can be used again


class HttpReceiver:
    """A receiver at a URL. Is an ``EventReceiver`` (``ports/event_receiver.py``).

    It follows no redirect: the operator's URL says who receives events. Raises OSError if the
    certificates of authorities cannot be used.
    """

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._tls = ssl.create_default_context(cafile=settings.ca_file)

    @property
    def where(self) -> str:
        """The URL without what may be a secret."""
        return self._settings.receiver

    @asynccontextmanager
    async def connect(self, catalog_id: UUID) -> AsyncIterator[HttpConnection]:
        """Open a session; connections are made when they are needed, and used again."""
        async with self._session() as session:
            yield HttpConnection(session, self._settings, catalog_id)

    async def ask(self) -> str:
        """What the receiver answers to an OPTIONS request, for operators. Raises ReceiverError.

        It asks for permission as CloudEvents' web hooks do. Few receivers know that, and permission
        is not required: the operator configured both sides.
        """
        settings = self._settings
        headers = {"WebHook-Request-Origin": settings.publisher_id}
        async with (
            self._session() as session,
            _answered(session, settings, "OPTIONS", headers) as answer,
        ):
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or _is_redirect(answer.status):
                raise _error_of(settings, answer)
            allowed = answer.headers.get("WebHook-Allowed-Origin")
        said = f"answers an OPTIONS request with {_phrase(answer.status)}"
        return said if allowed is None else f"{said}, and allows events of {allowed!r}"

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._settings.concurrency, ssl=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": f"imaged/{version('imaged')}"},
            auto_decompress=False,
        )


class HttpConnection:
    """A session with the receiver. Is an ``EventConnection``."""

    def __init__(
        self, session: aiohttp.ClientSession, settings: WebhookSettings, catalog_id: UUID
    ) -> None:
        self._session = session
        self._settings = settings
        self._catalog_id = catalog_id

    async def send(self, event: OutboxEvent) -> None:
        """Send one event. Any answer of 2xx accepts it. Raises ReceiverError, EventRefused."""
        settings = self._settings
        body = cloud_event(event, self._catalog_id, settings.publisher_id)
        signed = signature_headers(settings.secrets, str(event.id), int(time()), body)
        headers = {"Content-Type": MEDIA_TYPE, **signed}
        async with _answered(self._session, settings, "POST", headers, body) as answer:
            if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                raise _error_of(settings, answer)


@asynccontextmanager
async def _answered(
    session: aiohttp.ClientSession,
    settings: WebhookSettings,
    method: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to one request. Raises ReceiverError."""
    seconds = settings.timeout.total_seconds()
    try:
        async with (
            asyncio.timeout(seconds),
            session.request(
                method, URL(settings.url), data=body, headers=headers, allow_redirects=False
            ) as answer,
        ):
            yield answer
            await answer.content.read(ANSWER_BYTES)
    except TimeoutError as error:
        raise ReceiverError(settings.receiver, f"did not answer in {seconds:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ReceiverError(settings.receiver, _describe(error)) from error


def _error_of(settings: WebhookSettings, answer: aiohttp.ClientResponse) -> ReceiverError:
    kind = EventRefused if answer.status in EVENT_STATUSES else ReceiverError
    why = f"answered {_phrase(answer.status)}"
    if _is_redirect(answer.status):
        why += ", a redirect, and those are not followed: set notifications.url to where it leads"
    return kind(settings.receiver, why, _retry_after(answer.headers.get("Retry-After", "")))


def _is_redirect(status: int) -> bool:
    return HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST


def _phrase(status: int) -> str:
    """The status with the words of the standard: those of the answer may be anything."""
    known = {one.value: one.phrase for one in HTTPStatus}
    return f"{status} {known.get(status, '')}".strip()


def _retry_after(text: str) -> timedelta | None:
    """The seconds of Retry-After; a date is not read, since clocks differ."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len("86400")
    return timedelta(seconds=int(text)) if is_number else None


def _describe(error: aiohttp.ClientError | OSError) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"has a certificate that is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError():
            return "has a name that cannot be resolved"
        case aiohttp.ClientConnectorError(os_error=os_error) if (number := os_error.errno or 0) > 0:
            return f"cannot be reached: {os.strerror(number)}"
        case _:
            return f"broke off: {str(error) or type(error).__name__}"
