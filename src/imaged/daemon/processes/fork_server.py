"""A small process that forks the processes that answer requests.

It is forked from the daemon at its very start: every module is imported, and there is no event
loop, no thread and no connection yet. So a process forked from it begins within milliseconds, and
shares the memory of all code with the others. It is single-threaded and only waits: for requests
of the daemon, which come with descriptors, and for ends of its children, which it reports.

It ends when the daemon is gone. Its children notice that themselves, by their own channels.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import anyio

from imaged.core.errors import ImagedError

#: What a forked process runs with its descriptors; it returns the exit code.
ChildMain = Callable[[Sequence[int]], int]

DAEMON_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
REQUEST_BYTES = 256
MAX_DESCRIPTORS = 250  # the kernel's limit for a message is 253: unix(7)
FORK_SECONDS = 30.0
OPEN_DESCRIPTORS = Path("/proc/self/fd")
LAST_STANDARD_DESCRIPTOR = 2


class ForkServerLost(ImagedError):
    """The process that forks the others ended, so the service has to be started again."""

    def __init__(self) -> None:
        super().__init__(
            "The process that starts the answering processes of imaged ended unexpectedly. Start "
            "the service again, and look for the reason in the log of the system."
        )


class ForkRefused(ImagedError):
    """The system started no process."""


@dataclass(eq=False)
class ForkedProcess:
    """A process that was forked. ``exit_code``: that of a signal is negative; None: it runs."""

    pid: int
    exit_code: int | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)


class ForkServer:
    """The daemon's side. ``start`` it before the event loop, and ``run`` it in there."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._living: dict[int, ForkedProcess] = {}
        self._starting: dict[int, _Start] = {}
        self._numbers = count()

    @classmethod
    def start(
        cls, child_main: ChildMain, load_modules: Callable[[], None] = lambda: None
    ) -> ForkServer:
        """Fork it. ``load_modules`` imports what its children need and this process does not.

        Raises RuntimeError if this process has several threads, OSError.
        """
        if threading.active_count() > 1:
            raise RuntimeError("a process with several threads must not fork")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        _freeze_objects()
        if os.fork() == 0:
            load_modules()
            _freeze_objects()
            _run_and_exit(lambda: _Forker(theirs, child_main).run())
        theirs.close()
        ours.setblocking(False)  # noqa: FBT003 - socket's API
        return cls(ours)

    async def run(self) -> None:
        """Receive its reports until it ends, or until cancelled."""
        while message := await self._receive():
            self._note(json.loads(message))
        for process in self._living.values():
            process.ended.set()
        for waiting in self._starting.values():
            waiting.answered.set()

    async def fork(self, descriptors: Sequence[int]) -> ForkedProcess:
        """Fork a process that has these descriptors, and no others beside the standard ones.

        Raises ForkRefused, ForkServerLost.
        """
        start, number = _Start(), next(self._numbers)
        self._starting[number] = start
        await self._request({"fork": number}, descriptors)
        with anyio.move_on_after(FORK_SECONDS):
            await start.answered.wait()
        if start.why:
            raise ForkRefused(f"An answering process cannot be started: {start.why}.")
        if start.process is None:
            raise ForkServerLost
        return start.process

    async def kill(self, process: ForkedProcess, how: signal.Signals) -> None:
        """Send a signal to a process, unless it has ended."""
        with suppress(ForkServerLost):  # ``run`` tells of it
            await self._request({"kill": process.pid, "signal": int(how)})

    async def _request(self, request: dict[str, object], descriptors: Sequence[int] = ()) -> None:
        """Raises ForkServerLost."""
        message = json.dumps(request).encode()
        while True:
            try:
                socket.send_fds(self._end, [message], descriptors)
            except BlockingIOError:
                await anyio.wait_writable(self._end)
            except OSError as error:
                raise ForkServerLost from error
            else:
                return

    async def _receive(self) -> bytes:
        while True:
            await anyio.wait_readable(self._end)
            try:
                return self._end.recv(REQUEST_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    def _note(self, report: dict[str, Any]) -> None:
        match report:
            case {"forked": int(number), "pid": int(pid)}:
                start = self._starting.pop(number)
                start.process = self._living[pid] = ForkedProcess(pid)
                start.answered.set()
            case {"refused": int(number), "why": str(why)}:
                start = self._starting.pop(number)
                start.why = why
                start.answered.set()
            case {"ended": int(pid), "status": int(status)}:
                process = self._living.pop(pid)
                process.exit_code = os.waitstatus_to_exitcode(status)
                process.ended.set()


@dataclass(eq=False)
class _Start:
    """A fork that was asked for."""

    process: ForkedProcess | None = None
    why: str = ""
    answered: anyio.Event = field(default_factory=anyio.Event)


class _Forker:
    """The fork server itself: blocking, in one thread."""

    def __init__(self, end: socket.socket, child_main: ChildMain) -> None:
        self._end = end
        self._child_main = child_main
        self._living: set[int] = set()
        self._child_ended, self._wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Serve requests until the daemon is gone."""
        for one in DAEMON_SIGNALS:
            signal.signal(one, ignore_signal)
        signal.set_wakeup_fd(self._wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, ignore_signal)
        _close_all_but({self._end.fileno(), self._child_ended, self._wake_end})
        with selectors.DefaultSelector() as selector:
            selector.register(self._end, selectors.EVENT_READ, self._serve_request)
            selector.register(self._child_ended, selectors.EVENT_READ, self._reap)
            self._selector = selector
            while all(key.data() for key, _ in selector.select()):
                pass
        return 0

    def _serve_request(self) -> bool:
        """False when the daemon is gone."""
        message, descriptors, _, _ = socket.recv_fds(self._end, REQUEST_BYTES, MAX_DESCRIPTORS)
        match json.loads(message) if message else None:
            case {"fork": int(number)}:
                self._fork(number, descriptors)
            case {"kill": int(pid), "signal": int(how)}:
                if pid in self._living:  # it is not reaped, so the pid is still its own
                    os.kill(pid, how)
            case _:
                return False
        return True

    def _fork(self, number: int, descriptors: Sequence[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._report({"refused": number, "why": error.strerror or str(error)})
        else:
            if pid == 0:
                self._selector.close()
                _run_and_exit(lambda: self._run_child(descriptors))
            self._living.add(pid)
            self._report({"forked": number, "pid": pid})
        for descriptor in descriptors:
            os.close(descriptor)

    def _run_child(self, descriptors: Sequence[int]) -> int:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._end.close()
        os.close(self._child_ended)
        os.close(self._wake_end)
        return self._child_main(descriptors)

    def _reap(self) -> bool:
        """Report the children that have ended."""
        os.read(self._child_ended, REQUEST_BYTES)
        while self._living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            self._living.discard(pid)
            self._report({"ended": pid, "status": status})
        return True

    def _report(self, report: dict[str, object]) -> None:
        with suppress(OSError):  # the daemon is gone, which the next request tells
            self._end.send(json.dumps(report).encode())


def ignore_signal(number: int, frame: object) -> None:
    """Ignore a signal that a terminal or systemd sends to all processes: the daemon handles it and
    instructs its children. With SIG_IGN instead, child processes would inherit the setting.
    """


def _freeze_objects() -> None:
    """Let the collector leave the objects of now alone, so that their memory stays shared."""
    gc.collect()
    gc.freeze()


def _run_and_exit(run: Callable[[], int]) -> None:
    """Run a forked process. It must not return into the code of its parent, or run what that left
    for its own exit.
    """
    code = 1
    try:
        code = run()
    except BaseException:  # noqa: BLE001 - the last chance to tell of it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir(OPEN_DESCRIPTORS):  # noqa: PTH208 - numbers
        number = int(name)
        if number > LAST_STANDARD_DESCRIPTOR and number not in kept:
            with suppress(OSError):  # that of the listing itself
                os.close(number)
