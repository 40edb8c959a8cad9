"""One connection of a client: HTTP/1.1 by uvicorn and httptools, and the limits that they lack.

A client has the turn while we wait for its header, for its body, or for it to read; each turn has
a limit, and ``look`` is told of the time that goes by. What cannot be read in one way only ends the
connection, and nothing behind it is answered. Contract: ``tests/wire``.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from imaged.daemon import answers
from imaged.daemon.connections import Connections, Reason, origin_of
from imaged.daemon.flow import QueuedFlow
from imaged.daemon.framing import objection_to, without_offer
from imaged.daemon.line import Line
from imaged.daemon.patience import Patience
from imaged.daemon.served_request import ServedRequest
from imaged.daemon.turns import Objection, Turn
from imaged.services.kept_block import KEPT_BLOCK, KeptBlock

MAX_PIPELINED = 64  # requests that wait for the answers before theirs; most clients send none
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
        super().__init__(config, server_state, {**app_state, KEPT_BLOCK: KeptBlock()}, _loop)
        self._all = server_state
        self._origin: str | None = None
        self._is_deaf = False  # what comes in is thrown away
        self._objection = (400, Reason.MALFORMED, answers.MALFORMED)
        self._turn = Turn.HEADER
        self._patience = Patience()
        self._header_bytes = self._unparsed_bytes = 0
        self._body_bytes = self._frame_bytes = 0  # of chunks, without what they may need
        self._offers_upgrade = False
        self._running: RequestResponseCycle | None = None
        self._slow: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, if there is room."""
        self._line = Line(cast("asyncio.Transport", transport), self._leave)
        self._origin = origin_of(self._line.get_extra_info("peername"))
        reason = self._all.admit(self, self._origin)
        if reason is None:
            super().connection_made(self._line)
            self.flow = QueuedFlow(self._line, self.pipeline)
            return
        self._is_deaf = True
        self._all.note_end(reason, self._origin)
        self._line.write(answers.refusal(503, answers.FULL))
        self._line.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, and so is whoever the requests in flight were for."""
        self._all.forget(self)
        self.app_state[KEPT_BLOCK].release()
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
        self._unset_keepalive_if_required()
        while data and not self._is_deaf:
            data = self._parse(data)

    def _parse(self, data: bytes) -> bytes:
        """Heed what the data says; what of it is to be parsed anew."""
        if self._turn is Turn.NOTHING:
            self._await_header()
        turn, cycle = self._turn, self.cycle
        try:
            self.parser.feed_data(data)
            if self.cycle is cycle:  # no header was completed: all is of what we waited for
                self._count(turn, len(data))
        except httptools.HttpParserUpgrade as offer:
            return self._decline_upgrade() + data[offer.args[0] :]
        except (httptools.HttpParserError, Objection):
            self._refuse(*self._objection)
        return b""

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio lets it say
        """The client sends no more (RFC 9112, section 9.6): keep the connection for the answers to
        what it asked for as a whole, and close it behind the last. A part of a request is none.
        """
        if self._turn is Turn.BODY and self.pipeline:
            self._drop_unfinished()
        if self._turn is Turn.BODY or self._is_free or self._line.is_closing():
            return False
        self.cycle.keep_alive = False
        return True

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
        if len(self.pipeline) >= MAX_PIPELINED:  # it is not answered: RFC 9112, 9.3.2
            self._object(503, Reason.PIPELINED, answers.PIPELINED)
        if self.parser.should_upgrade():
            self._offers_upgrade = True
            return
        self._turn = Turn.BODY
        self._body_bytes = self._frame_bytes = 0
        self._patience.begin_body()
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
        self._patience.begin_header()
        super().on_response_complete()
        if not self._line.is_closing():
            self.flow.resume_reading()

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
        held_bytes, taken_bytes = self._line.held_bytes, self._line.taken_bytes
        settings = self._all.settings
        if self._patience.reader_is_slow(elapsed_seconds, settings, held_bytes, taken_bytes):
            self._all.note_end(Reason.SLOW_READER, self._origin)
            self._line.abort()

    def _look_at_body(self, elapsed_seconds: float) -> None:
        cycle, came = self.cycle, (elapsed_seconds, self._all.settings, self._body_bytes)
        waits_for_us = self.flow.read_paused or cycle.waiting_for_100_continue
        is_slow = self._patience.body_is_slow(*came, waits_for_us=waits_for_us)
        if not is_slow or cycle is self._slow:
            return
        self._all.note_end(Reason.SLOW_BODY, self._origin)
        if cycle.response_started:
            self.transport.close()
        else:  # whoever reads the body gives back what it holds, and then answers
            self._slow = cycle
            cycle.message_event.set()

    def _look_at_header(self, elapsed_seconds: float) -> None:
        is_idle = self._turn is Turn.NOTHING
        if not self._patience.header_is_late(elapsed_seconds, self._all.settings, is_idle=is_idle):
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
        self._patience.begin_header()
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

    def _decline_upgrade(self) -> bytes:
        """The header without its offer, to be read again (RFC 9110, 7.8): the parser, which would
        drop the body, begins anew.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        return without_offer(method, self.url, version, self.headers)

    def _refuse(self, status: int, reason: Reason, sentence: str) -> None:
        """Heed nothing more; answer for the application, unless answers are under way."""
        self._all.note_end(reason, self._origin)
        self._is_deaf = True
        if self._turn is Turn.BODY and self.pipeline:
            self._drop_unfinished()
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

    def _drop_unfinished(self) -> None:
        """Forget the request whose body is coming: it was not its turn to be answered."""
        self.pipeline.popleft()
        before = self.pipeline[0][0] if self.pipeline else self._running
        self.cycle = cast("RequestResponseCycle", before)
        self._turn = Turn.HEADER

    def _leave(self) -> None:
        """Close, after the client had time to read the answer: it may still be sending."""
        self._is_deaf = True
        if self._turn is Turn.NOTHING or self.parser is None:
            self._line.hang_up()
            return
        self._line.write_eof()
        self.pipeline.clear()
        self.flow.resume_reading()
        self.loop.call_later(self._all.settings.linger.total_seconds(), self._line.hang_up)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        served = ServedRequest(app, cycle, self._line, lambda: cycle is self._slow)
        super()._start_asgi_task(cycle, cast("Any", served))
