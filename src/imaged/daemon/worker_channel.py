"""What a daemon and its worker tell each other, over a socket between the two.

What goes down are objects of ours, pickled: above all the configuration as the daemon has it, so
that nothing is read a second time. What comes up is JSON, because a worker handles the bytes of
strangers: from there we take facts, and never code.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import anyio
import msgspec
from anyio.abc import UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from imaged.config import Config
from imaged.core.claim import InstanceId
from imaged.core.limits import MIB
from imaged.metrics.worker_counters import WorkerSample

MAX_MESSAGE_BYTES = 16 * MIB  # of a message; a thousand times what is usual
CHANNEL_SEND_SECONDS = 30.0  # the other end reads at once, unless it hangs or is starved
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Start:
    """Work, as a part of this instance."""

    config: Config
    instance: InstanceId


@dataclass(frozen=True, slots=True)
class Reload:
    """Go on with these settings."""

    config: Config


class Command(Enum):
    """What needs no more words."""

    CHECK_TASKS = auto()  # a task was accepted, or cancelled
    REPORT = auto()  # now, and not only when it is time
    DRAIN = auto()  # begin nothing new


Instruction = Start | Reload | Command


class Report(msgspec.Struct, tag="report"):
    """What a worker does, and has done since it began."""

    running: Sequence[str] = ()  # ids of tasks
    counts: Sequence[WorkerSample] = ()


class WorkerFailure(msgspec.Struct, tag="trouble"):
    """Why it cannot work."""

    message: str


_REPORT_DECODER = msgspec.json.Decoder(Report | WorkerFailure)


class CoalescingQueue:
    """Orders that the worker has not been given yet: of each kind the last one, in their order.

    So a worker that does not read costs no memory, however often somebody has something to say.
    """

    def __init__(self) -> None:
        self._waiting: dict[object, Instruction] = {}
        self._filled = anyio.Event()

    def put(self, order: Instruction) -> None:
        """Leave an order; one of the same kind that still waits gives way to it."""
        kind = order if isinstance(order, Command) else type(order)
        self._waiting[kind] = order
        self._filled.set()

    async def get(self) -> Instruction:
        """The next order, as soon as there is one."""
        await self._filled.wait()
        order = self._waiting.pop(next(iter(self._waiting)))
        if not self._waiting:
            self._filled = anyio.Event()
        return order

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)


class WorkerChannel:
    """One end of it, for one sender and one receiver."""

    def __init__(self, stream: UNIXSocketStream) -> None:
        self._stream = stream
        self._received = BufferedByteReceiveStream(stream)

    @classmethod
    async def from_socket(cls, end: socket.socket) -> WorkerChannel:
        """Take over a connected socket."""
        return cls(await UNIXSocketStream.from_socket(end))

    async def close(self) -> None:
        """The other end hears of nothing more."""
        await self._stream.aclose()

    async def send_instruction(self, order: Instruction) -> bool:
        """Tell the worker; False: it does not read. Nobody may be there any more."""
        return await self._send(pickle.dumps(order))

    async def next_instruction(self) -> Instruction | None:
        """What the daemon says; None: it is gone."""
        message = await self._receive()
        if message is None:
            return None
        order: Instruction = pickle.loads(message)  # noqa: S301 - from the process that forked this one
        return order

    async def send_report(self, news: Report | WorkerFailure) -> bool:
        """Tell the daemon; False: it does not read. Nobody may be there any more."""
        return await self._send(msgspec.json.encode(news))

    async def next_report(self) -> Report | WorkerFailure | None:
        """What the worker says; None: it is gone. Raises msgspec.MsgspecError for anything else."""
        message = await self._receive()
        return None if message is None else _REPORT_DECODER.decode(message)

    async def _send(self, message: bytes) -> bool:
        """Half a message would spoil the next one: so a send is not cancelled, but it has a limit,
        and after that the line is closed.
        """
        with anyio.move_on_after(CHANNEL_SEND_SECONDS, shield=True) as limit:
            try:
                await self._stream.send(_LENGTH.pack(len(message)) + message)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return True  # the receiver of this end hears of it
        if limit.cancelled_caught:
            with anyio.CancelScope(shield=True):  # the receiver of this end ends everything
                await self.close()
        return not limit.cancelled_caught

    async def _receive(self) -> bytes | None:
        try:
            (length,) = _LENGTH.unpack(await self._received.receive_exactly(_LENGTH.size))
            if length > MAX_MESSAGE_BYTES:
                raise msgspec.ValidationError(f"A message of {length} bytes is none of ours")
            return await self._received.receive_exactly(length)
        except (
            anyio.IncompleteRead,
            anyio.EndOfStream,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,  # by a send that came to nothing
        ):
            return None
