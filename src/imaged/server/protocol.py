"""One client connection: HTTP/1.1 by uvicorn and httptools, with the limits that they lack.

A connection waits for a header, for a body, or for its client to read the answer. Each of these
has a limit, which ``check_timeouts`` enforces. An ambiguous request ends the connection; data
after it is not answered. ``tests/server`` defines the behaviour.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from imaged.server import raw_responses
from imaged.server.connections import CloseReason, ConnectionTracker, client_network
from imaged.server.rates import ClientTimeouts
from imaged.server.request import (
    BadRequest,
    BodyPieces,
    PipelineFlowControl,
    ReadState,
    RequestSize,
    ServedRequest,
    framing_error,
    without_upgrade,
)
from imaged.server.transport import LingeringTransport

MAX_PIPELINED = 64  # requests waiting for earlier answers; most clients never pipeline


class HttpConnection(HttpToolsProtocol):
    """Serves one connection. All connections share ``server_state``."""

    def __init__(
        self,
        config: Config,
        server_state: ConnectionTracker,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        states = {name: make() for name, make in server_state.hooks.state_factories.items()}
        super().__init__(config, server_state, {**app_state, **states}, _loop)
        self._app_states = states.values()
        self._connections, self._hooks = server_state, server_state.hooks
        self._network: str | None = None
        self._ignores_input = False  # input is discarded
        self._rejection = (400, CloseReason.MALFORMED, raw_responses.MALFORMED_REQUEST)
        self._state = ReadState.HEADER
        self._timeouts = ClientTimeouts()
        self._size = RequestSize()
        self._offers_upgrade = False
        self._running_cycle: RequestResponseCycle | None = None
        self._slow_cycle: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or answer 503 and close it."""
        inner = cast("asyncio.Transport", transport)
        self._transport = LingeringTransport(inner, self._linger)
        self._network = client_network(self._transport.get_extra_info("peername"))
        reason = self._connections.admit(self, self._network)
        if reason is None:
            super().connection_made(self._transport)
            self.flow = PipelineFlowControl(inner, self.pipeline)
            return
        self._ignores_input = True
        self._connections.record_end(reason, self._network)
        text = raw_responses.TOO_MANY_CONNECTIONS
        self._transport.write(raw_responses.raw_response(503, text, self._hooks.error_headers()))
        self._transport.flush_and_close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the requests in flight: their client is gone."""
        self._connections.remove(self)
        for state in self._app_states:
            state.release()
        if self.transport is None:  # it was not admitted
            return
        super().connection_lost(exc)
        for cycle in (self._running_cycle, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse the data. The application starts as soon as a header is complete."""
        self._unset_keepalive_if_required()
        while data and not self._ignores_input:
            data = self._parse(data)

    def _parse(self, data: bytes) -> bytes:
        """Feed the parser; return the data that it has to parse again."""
        if self._state is ReadState.NOTHING:
            self._expect_header()
        state, cycle = self._state, self.cycle
        try:
            self.parser.feed_data(data)
            if self.cycle is cycle:  # no header was completed: all of the data belongs to ``state``
                self._size.add_input(state, len(data))
                self._check_size()
        except httptools.HttpParserUpgrade as offer:
            return self._decline_upgrade() + data[offer.args[0] :]
        except (httptools.HttpParserError, BadRequest):
            self._respond_and_close(*self._rejection)
        return b""

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio allows a result
        """Answer only complete requests after a half-close (RFC 9112, section 9.6), then close."""
        is_incomplete = self._state is ReadState.BODY  # nothing is read while others wait before it
        if is_incomplete or self._is_between_requests or self._transport.is_closing():
            return False
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """Start a header: reset its limits."""
        super().on_message_begin()
        self._expect_header()
        self._offers_upgrade = False

    def on_url(self, url: bytes) -> None:
        """Count a part of the request target."""
        super().on_url(url)
        self._size.header_bytes += len(url)
        self._check_size()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count and keep a header field; drop a trailer field."""
        if self._state is ReadState.HEADER:
            self._size.header_bytes += len(name) + len(value) + len(b": \r\n")
            self._check_size()
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the header, and start the request or queue it behind earlier ones."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        message = framing_error(method, self.url, version, self.headers)
        if message is not None:
            self._reject(400, CloseReason.MALFORMED, message)
        if len(self.pipeline) >= MAX_PIPELINED:  # not answered: RFC 9112, 9.3.2
            self._reject(503, CloseReason.PIPELINED, raw_responses.TOO_MANY_PIPELINED)
        if self.parser.should_upgrade():
            self._offers_upgrade = True
            return
        self._state = ReadState.BODY
        self._size.restart_body()
        self._timeouts.restart_body()
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Count the header of a chunk."""
        self._size.add_chunk_header()

    def on_body(self, body: bytes) -> None:
        """Count data of the body and pass it on."""
        self._size.add_body(len(body))
        if not self.cycle.body:
            self.cycle.body = BodyPieces()  # uvicorn appends to it, and replaces it when it is read
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request. An upgrade offer is declined first, in ``_parse``."""
        if not self._offers_upgrade:
            self._state = ReadState.NOTHING
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the idle timer, and read on unless requests wait."""
        self._timeouts.restart_header()
        super().on_response_complete()
        if not self._transport.is_closing():
            self.flow.resume_reading()

    @property
    def is_new(self) -> bool:
        """Whether no request has begun on the connection."""
        return self.cycle is None

    def check_timeouts(self, elapsed_seconds: float) -> None:
        """End the connection if its client exceeded a limit. ``elapsed_seconds``: since the last
        check.
        """
        self._check_reader(elapsed_seconds)
        if self._transport.is_closing():
            return
        if self._state is ReadState.BODY:
            self._check_body(elapsed_seconds)
        elif self._is_between_requests:
            self._check_header(elapsed_seconds)

    def _check_reader(self, elapsed_seconds: float) -> None:
        unread = self._transport.buffered_bytes, self._transport.acknowledged_bytes
        if self._timeouts.reader_is_slow(elapsed_seconds, self._connections.settings, *unread):
            self._connections.record_end(CloseReason.SLOW_READER, self._network)
            self._transport.abort()

    def _check_body(self, elapsed_seconds: float) -> None:
        cycle, settings = self.cycle, self._connections.settings
        is_waiting = self.flow.read_paused or cycle.waiting_for_100_continue
        is_slow = self._timeouts.body_is_slow(
            elapsed_seconds, settings, self._size.body_bytes, client_is_waiting=is_waiting
        )
        if not is_slow or cycle is self._slow_cycle:
            return
        self._connections.record_end(CloseReason.SLOW_BODY, self._network)
        if cycle.response_started:
            self.transport.close()
        else:  # the reader of the body releases its claim and then answers
            self._slow_cycle = cycle
            cycle.message_event.set()

    def _check_header(self, elapsed_seconds: float) -> None:
        is_idle, settings = self._state is ReadState.NOTHING, self._connections.settings
        if not self._timeouts.header_is_late(elapsed_seconds, settings, is_idle=is_idle):
            return
        if self._size.unparsed_bytes:
            self._respond_and_close(408, CloseReason.SLOW_HEADER, raw_responses.HEADER_TIMED_OUT)
        else:
            reason = CloseReason.IDLE if is_idle else CloseReason.SLOW_HEADER
            self._connections.record_end(reason, self._network)
            self._transport.flush_and_close()

    @property
    def _is_between_requests(self) -> bool:
        """Whether no answer is pending."""
        return self.cycle is None or self.cycle.response_complete

    def _expect_header(self) -> None:
        self._state = ReadState.HEADER
        self._timeouts.restart_header()
        self._size.restart_header()

    def _check_size(self) -> None:
        """Limit what the parser buffers: an unfinished header line, the extension of a chunk."""
        limit_bytes = self._connections.settings.max_header_bytes
        if self._size.header_exceeds(limit_bytes):
            self._reject(431, CloseReason.LARGE_HEADER, raw_responses.HEADER_TOO_LARGE)
        if self._size.frames_exceed(limit_bytes):
            self._reject(400, CloseReason.MALFORMED, raw_responses.MALFORMED_REQUEST)

    def _reject(self, status: int, reason: CloseReason, message: str) -> NoReturn:
        self._rejection = (status, reason, message)
        raise BadRequest

    def _decline_upgrade(self) -> bytes:
        """Return the header without its Upgrade field, for a new parser (RFC 9110, 7.8). The old
        parser would drop the body.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        return without_upgrade(method, self.url, version, self.headers)

    def _respond_and_close(self, status: int, reason: CloseReason, message: str) -> None:
        """Discard further input; send an answer unless the application's answers are under way."""
        self._connections.record_end(reason, self._network)
        self._ignores_input = True
        if self._state is ReadState.BODY and self.pipeline:
            self._drop_incomplete_request()
        if self._state is ReadState.HEADER and not self._is_between_requests:
            self.cycle.keep_alive = False  # earlier requests are answered
            return
        if self._state is ReadState.BODY and not self._is_between_requests:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._transport.flush_and_close()
                return
        headers = self._hooks.error_headers(), self._connections.default_headers
        self._transport.write(raw_responses.raw_response(status, message, *headers))
        self._transport.close()

    def _drop_incomplete_request(self) -> None:
        """Drop the last pipelined request: its body is incomplete, and it has not started."""
        self.pipeline.popleft()
        before = self.pipeline[0][0] if self.pipeline else self._running_cycle
        self.cycle = cast("RequestResponseCycle", before)
        self._state = ReadState.HEADER

    def _linger(self) -> None:
        """Close after the client had time to read the answer, as it may still be sending."""
        self._ignores_input = True
        if self._state is ReadState.NOTHING or self.parser is None:
            self._transport.flush_and_close()
            return
        self._transport.write_eof()
        self.pipeline.clear()
        self.flow.resume_reading()
        linger_seconds = self._connections.settings.linger.total_seconds()
        self.loop.call_later(linger_seconds, self._transport.flush_and_close)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running_cycle = cycle
        served = ServedRequest(
            app, cycle, self._transport, lambda: cycle is self._slow_cycle, self._hooks
        )
        super()._start_asgi_task(cycle, cast("Any", served))
