"""One connection of a client: HTTP/1.1 by uvicorn and httptools, and the limits that they lack.

A client has the state while we wait for its header, for its body, or for it to read; each state has
a limit, and ``look`` is told of the time that goes by. What cannot be read in one way only ends the
connection, and nothing behind it is answered. Contract: ``tests/server``.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from imaged.server import raw_responses
from imaged.server.client_timeouts import ClientTimeouts
from imaged.server.connections import CloseReason, ConnectionTracker, client_network
from imaged.server.flow_control import PipelineFlowControl
from imaged.server.framing import framing_error, without_upgrade
from imaged.server.read_state import BadRequest, ReadState, RequestSize
from imaged.server.served_request import ServedRequest
from imaged.server.transport import LingeringTransport
from imaged.services.block_cache import BLOCK_CACHE, BlockCache

MAX_PIPELINED = 64  # requests that wait for the answers before theirs; most clients send none


class HttpConnection(HttpToolsProtocol):
    """uvicorn makes one for each; ``server_state`` is what all of them share."""

    def __init__(
        self,
        config: Config,
        server_state: ConnectionTracker,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, BLOCK_CACHE: BlockCache()}, _loop)
        self._connections = server_state
        self._network: str | None = None
        self._ignores_input = False  # what comes in is thrown away
        self._rejection = (400, CloseReason.MALFORMED, raw_responses.MALFORMED_REQUEST)
        self._state = ReadState.HEADER
        self._timeouts = ClientTimeouts()
        self._size = RequestSize()
        self._offers_upgrade = False
        self._running_cycle: RequestResponseCycle | None = None
        self._slow_cycle: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, if there is room."""
        self._transport = LingeringTransport(cast("asyncio.Transport", transport), self._linger)
        self._network = client_network(self._transport.get_extra_info("peername"))
        reason = self._connections.admit(self, self._network)
        if reason is None:
            super().connection_made(self._transport)
            self.flow = PipelineFlowControl(self._transport, self.pipeline)
            return
        self._ignores_input = True
        self._connections.record_end(reason, self._network)
        self._transport.write(raw_responses.raw_response(503, raw_responses.TOO_MANY_CONNECTIONS))
        self._transport.flush_and_close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, and so is whoever the requests in flight were for."""
        self._connections.remove(self)
        self.app_state[BLOCK_CACHE].release()
        if self.transport is None:  # it was not let in
            return
        super().connection_lost(exc)
        for cycle in (self._running_cycle, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse; a request is answered from its header on."""
        self._unset_keepalive_if_required()
        while data and not self._ignores_input:
            data = self._parse(data)

    def _parse(self, data: bytes) -> bytes:
        """Heed what the data says; what of it is to be parsed anew."""
        if self._state is ReadState.NOTHING:
            self._expect_header()
        state, cycle = self._state, self.cycle
        try:
            self.parser.feed_data(data)
            if self.cycle is cycle:  # no header was completed: all is of what we waited for
                self._count(state, len(data))
        except httptools.HttpParserUpgrade as offer:
            return self._decline_upgrade() + data[offer.args[0] :]
        except (httptools.HttpParserError, BadRequest):
            self._respond_and_close(*self._rejection)
        return b""

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio lets it say
        """The client sends no more (RFC 9112, section 9.6): keep the connection for the answers to
        what it asked for as a whole, and close it behind the last. A part of a request is none.
        """
        if self._state is ReadState.BODY and self.pipeline:
            self._drop_incomplete_request()
        is_incomplete = self._state is ReadState.BODY
        if is_incomplete or self._is_between_requests or self._transport.is_closing():
            return False
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """A header begins."""
        super().on_message_begin()
        self._expect_header()
        self._offers_upgrade = False

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        super().on_url(url)
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or a trailer, which nobody reads."""
        if self._state is ReadState.HEADER:
            self._count_header(len(name) + len(value) + len(b": \r\n"))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, or to wait until the requests before are answered."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        message = framing_error(method, self.url, version, self.headers)
        if message is not None:
            self._reject(400, CloseReason.MALFORMED, message)
        if len(self.pipeline) >= MAX_PIPELINED:  # it is not answered: RFC 9112, 9.3.2
            self._reject(503, CloseReason.PIPELINED, raw_responses.TOO_MANY_PIPELINED)
        if self.parser.should_upgrade():
            self._offers_upgrade = True
            return
        self._state = ReadState.BODY
        self._size.restart_body()
        self._timeouts.restart_body()
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._size.add_chunk_header()

    def on_body(self, body: bytes) -> None:
        """Some data."""
        self._size.add_body(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        if not self._offers_upgrade:
            self._state = ReadState.NOTHING
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written as a whole."""
        self._timeouts.restart_header()
        super().on_response_complete()
        if not self._transport.is_closing():
            self.flow.resume_reading()

    @property
    def is_new(self) -> bool:
        """Whether nothing was asked on it yet."""
        return self.cycle is None

    def check_timeouts(self, elapsed_seconds: float) -> None:
        """So much time went by: end the connection if its client used up a state."""
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
        cycle, came = (
            self.cycle,
            (elapsed_seconds, self._connections.settings, self._size.body_bytes),
        )
        client_is_waiting = self.flow.read_paused or cycle.waiting_for_100_continue
        is_slow = self._timeouts.body_is_slow(*came, client_is_waiting=client_is_waiting)
        if not is_slow or cycle is self._slow_cycle:
            return
        self._connections.record_end(CloseReason.SLOW_BODY, self._network)
        if cycle.response_started:
            self.transport.close()
        else:  # whoever reads the body gives back what it holds, and then answers
            self._slow_cycle = cycle
            cycle.message_event.set()

    def _check_header(self, elapsed_seconds: float) -> None:
        is_idle = self._state is ReadState.NOTHING
        if not self._timeouts.header_is_late(
            elapsed_seconds, self._connections.settings, is_idle=is_idle
        ):
            return
        if self._size.unparsed_bytes:
            self._respond_and_close(408, CloseReason.SLOW_HEADER, raw_responses.HEADER_TIMED_OUT)
        else:
            self._connections.record_end(
                CloseReason.IDLE if is_idle else CloseReason.SLOW_HEADER, self._network
            )
            self._transport.flush_and_close()

    @property
    def _is_between_requests(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _expect_header(self) -> None:
        self._state = ReadState.HEADER
        self._timeouts.restart_header()
        self._size.restart_header()

    def _count(self, state: ReadState, size_bytes: int) -> None:
        """Bound what the parser keeps: a header's last line, the extension of a chunk."""
        self._size.add_input(state, size_bytes)
        self._check_size()

    def _count_header(self, size_bytes: int) -> None:
        self._size.header_bytes += size_bytes
        self._check_size()

    def _check_size(self) -> None:
        limit_bytes = self._connections.settings.max_header_bytes
        if self._size.header_exceeds(limit_bytes):
            self._reject(431, CloseReason.LARGE_HEADER, raw_responses.HEADER_TOO_LARGE)
        if self._size.frames_exceed(limit_bytes):
            self._reject(400, CloseReason.MALFORMED, raw_responses.MALFORMED_REQUEST)

    def _reject(self, status: int, reason: CloseReason, message: str) -> NoReturn:
        self._rejection = (status, reason, message)
        raise BadRequest

    def _decline_upgrade(self) -> bytes:
        """The header without its offer, to be read again (RFC 9110, 7.8): the parser, which would
        drop the body, begins anew.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        return without_upgrade(method, self.url, version, self.headers)

    def _respond_and_close(self, status: int, reason: CloseReason, message: str) -> None:
        """Heed nothing more; answer for the application, unless answers are under way."""
        self._connections.record_end(reason, self._network)
        self._ignores_input = True
        if self._state is ReadState.BODY and self.pipeline:
            self._drop_incomplete_request()
        if self._state is ReadState.HEADER and not self._is_between_requests:
            self.cycle.keep_alive = False  # the requests before it are answered
            return
        if self._state is ReadState.BODY and not self._is_between_requests:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._transport.flush_and_close()
                return
        self._transport.write(
            raw_responses.raw_response(status, message, self._connections.default_headers)
        )
        self._transport.close()

    def _drop_incomplete_request(self) -> None:
        """Forget the request whose body is coming: it was not its state to be answered."""
        self.pipeline.popleft()
        before = self.pipeline[0][0] if self.pipeline else self._running_cycle
        self.cycle = cast("RequestResponseCycle", before)
        self._state = ReadState.HEADER

    def _linger(self) -> None:
        """Close, after the client had time to read the answer: it may still be sending."""
        self._ignores_input = True
        if self._state is ReadState.NOTHING or self.parser is None:
            self._transport.flush_and_close()
            return
        self._transport.write_eof()
        self.pipeline.clear()
        self.flow.resume_reading()
        self.loop.call_later(
            self._connections.settings.linger.total_seconds(), self._transport.flush_and_close
        )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running_cycle = cycle
        served = ServedRequest(app, cycle, self._transport, lambda: cycle is self._slow_cycle)
        super()._start_asgi_task(cycle, cast("Any", served))
