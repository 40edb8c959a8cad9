"""One connection of a client: HTTP/1.1 by uvicorn and httptools, and the limits that they lack.

A client has the turn while we wait for its header, for its body, or for it to read; each turn has
a limit, and ``look`` is told of the time that goes by. What cannot be read in one way only ends the
connection, and nothing behind it is answered. Contract: ``tests/wire``.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, NoReturn, cast

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from imaged.api.refusals import BodyTooSlow
from imaged.daemon import answers
from imaged.daemon.connections import Connections, Reason, origin_of
from imaged.daemon.framing import objection_to, without_offer
from imaged.daemon.line import Line
from imaged.daemon.pace import Pace
from imaged.daemon.turns import Objection, Turn

CHUNK_FRAME_BYTES = 32  # what a chunk may need beside its data: size, line ends, a short extension


class Connection(HttpToolsProtocol):
    """uvicorn makes one for each; ``server_state`` is what all of them share."""

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._all = server_state
        self._origin: str | None = None
        self._is_deaf = False  # what comes in is thrown away
        self._objection = (400, Reason.MALFORMED, answers.MALFORMED)
        self._turn = Turn.HEADER
        self._waited_seconds = 0.0  # for a header, or for its first byte
        self._header_bytes = self._unparsed_bytes = 0
        self._body_bytes = 0
        self._frame_bytes = 0  # of chunks, without what they may need
        self._offers_upgrade = False
        self._running: RequestResponseCycle | None = None
        self._slow: RequestResponseCycle | None = None
        self._coming, self._seen_coming = Pace(), 0
        self._going, self._seen_going = Pace(), 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, if there is room."""
        self._line = Line(cast("asyncio.Transport", transport), self._leave)
        self._origin = origin_of(self._line.get_extra_info("peername"))
        reason = self._all.admit(self, self._origin)
        if reason is None:
            super().connection_made(self._line)
            return
        self._is_deaf = True
        self._all.note_end(reason, self._origin)
        self._line.write(answers.refusal(503, answers.FULL))
        self._line.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, and so is whoever the requests in flight were for."""
        self._all.forget(self)
        if self.transport is None:  # it was not let in
            return
        super().connection_lost(exc)
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse; a request is answered from its header on."""
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        if self._turn is Turn.NOTHING:
            self._await_header()
        turn, cycle = self._turn, self.cycle
        try:
            self.parser.feed_data(data)
            if self.cycle is cycle:  # no header was completed: all is of what we waited for
                self._count(turn, len(data))
        except httptools.HttpParserUpgrade as offer:
            self._decline_upgrade(data[offer.args[0] :])
        except (httptools.HttpParserError, Objection):
            self._refuse(*self._objection)

    def on_message_begin(self) -> None:
        """A header begins."""
        super().on_message_begin()
        self._await_header()
        self._offers_upgrade = False

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        super().on_url(url)
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or a trailer, which nobody reads."""
        if self._turn is Turn.HEADER:
            self._count_header(len(name) + len(value) + len(b": \r\n"))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, or to wait until the requests before are answered."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        sentence = objection_to(method, self.url, version, self.headers)
        if sentence is not None:
            self._object(400, Reason.MALFORMED, sentence)
        if self.parser.should_upgrade():
            self._offers_upgrade = True
            return
        self._turn = Turn.BODY
        self._body_bytes = self._frame_bytes = 0
        self._coming, self._seen_coming = Pace(), 0
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._frame_bytes -= CHUNK_FRAME_BYTES

    def on_body(self, body: bytes) -> None:
        """Some data."""
        self._body_bytes += len(body)
        self._frame_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        if not self._offers_upgrade:
            self._turn = Turn.NOTHING
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written as a whole."""
        self._waited_seconds = 0.0
        super().on_response_complete()

    @property
    def is_new(self) -> bool:
        """Whether nothing was asked on it yet."""
        return self.cycle is None

    def look(self, elapsed_seconds: float) -> None:
        """So much time went by: end the connection if its client used up a turn."""
        self._look_at_reading(elapsed_seconds)
        if self._line.is_closing():
            return
        if self._turn is Turn.BODY:
            self._look_at_body(elapsed_seconds)
        elif self._is_free:
            self._look_at_header(elapsed_seconds)

    def _look_at_reading(self, elapsed_seconds: float) -> None:
        """Nobody is slow for whom nothing waits in our memory."""
        rate, taken_bytes = self._all.settings.min_rate, self._line.taken_bytes
        if not self._line.held_bytes:
            self._going = Pace()
        else:
            self._going.note(elapsed_seconds, taken_bytes - self._seen_going, rate)
            if self._going.is_below(rate):
                self._all.note_end(Reason.SLOW_READER, self._origin)
                self._line.abort()
        self._seen_going = taken_bytes

    def _look_at_body(self, elapsed_seconds: float) -> None:
        """Nobody is slow who waits for us: for permission to send, or for room."""
        rate, cycle = self._all.settings.min_rate, self.cycle
        waits_for_us = self.flow.read_paused or cycle.waiting_for_100_continue
        came_bytes, self._seen_coming = self._body_bytes - self._seen_coming, self._body_bytes
        self._coming.note(0 if waits_for_us else elapsed_seconds, came_bytes, rate)
        if not self._coming.is_below(rate) or cycle is self._slow:
            return
        self._all.note_end(Reason.SLOW_BODY, self._origin)
        if cycle.response_started:
            self.transport.close()
        else:  # whoever reads the body gives back what it holds, and then answers
            self._slow = cycle
            cycle.message_event.set()

    def _look_at_header(self, elapsed_seconds: float) -> None:
        settings = self._all.settings
        is_idle = self._turn is Turn.NOTHING
        timeout = settings.idle_timeout if is_idle else settings.header_timeout
        self._waited_seconds += elapsed_seconds
        if self._waited_seconds < timeout.total_seconds():
            return
        if self._unparsed_bytes:
            self._refuse(408, Reason.SLOW_HEADER, answers.SLOW_HEADER)
        else:
            self._all.note_end(Reason.IDLE if is_idle else Reason.SLOW_HEADER, self._origin)
            self._line.hang_up()

    @property
    def _is_free(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _await_header(self) -> None:
        self._turn = Turn.HEADER
        self._waited_seconds = 0.0
        self._header_bytes = self._unparsed_bytes = 0

    def _count(self, turn: Turn, size_bytes: int) -> None:
        """Bound what the parser keeps: a header's last line, the extension of a chunk."""
        limit_bytes = self._all.settings.max_header_bytes
        if turn is Turn.HEADER:
            self._unparsed_bytes += size_bytes
            if self._unparsed_bytes > limit_bytes:
                self._object(431, Reason.LARGE_HEADER, answers.LARGE_HEADER)
        elif turn is Turn.BODY:
            self._frame_bytes += size_bytes
            if self._frame_bytes > limit_bytes:
                self._object(400, Reason.MALFORMED, answers.MALFORMED)

    def _count_header(self, size_bytes: int) -> None:
        self._header_bytes += size_bytes
        if self._header_bytes > self._all.settings.max_header_bytes:
            self._object(431, Reason.LARGE_HEADER, answers.LARGE_HEADER)

    def _object(self, status: int, reason: Reason, sentence: str) -> NoReturn:
        self._objection = (status, reason, sentence)
        raise Objection

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read the request again as if nothing had been offered, as RFC 9110 (7.8) allows.

        The parser takes what follows such an offer for another protocol, and drops the body.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        head = without_offer(method, self.url, version, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _refuse(self, status: int, reason: Reason, sentence: str) -> None:
        """Heed nothing more; answer for the application, unless answers are under way."""
        self._all.note_end(reason, self._origin)
        self._is_deaf = True
        if self._turn is Turn.BODY and self.pipeline:  # it was not its turn to be answered
            self.pipeline.popleft()
            before = self.pipeline[0][0] if self.pipeline else self._running
            self.cycle = cast("RequestResponseCycle", before)
            self._turn = Turn.HEADER
        if self._turn is Turn.HEADER and not self._is_free:  # those before it are answered
            self.cycle.keep_alive = False
            return
        if self._turn is Turn.BODY and not self._is_free:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._line.hang_up()
                return
        self._line.write(answers.refusal(status, sentence, self._all.default_headers))
        self._line.close()

    def _leave(self) -> None:
        """Close, after the client had time to read the answer: it may still be sending."""
        self._is_deaf = True
        if self._turn is Turn.NOTHING or self.parser is None:
            self._line.hang_up()
            return
        self._line.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(self._all.settings.linger.total_seconds(), self._line.hang_up)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, cast("Any", partial(self._serve, cycle, app)))

    async def _serve(
        self, cycle: RequestResponseCycle, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Have a request answered. What is broken off is no mistake of the application."""

        async def receive_in_time() -> Message:
            message = await receive()
            if cycle is self._slow and cycle.more_body:
                raise BodyTooSlow
            return message

        try:
            await app(scope, receive_in_time, send)
        except asyncio.CancelledError:  # the server is being stopped
            if not cycle.response_started:
                await answers.stopping(scope)(scope, receive, send)
        if cycle.response_started and not cycle.response_complete and not cycle.disconnected:
            cycle.disconnected = True
            self.transport.close()
