"""The channel between a daemon and a child process, over a socket pair."""

from __future__ import annotations

import pickle
import socket
import struct

import anyio
import msgspec
from anyio.abc import UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from imaged.core.limits import MIB
from imaged.daemon.processes.messages import ChildMessage, Instruction, decode_message, kind_of

MAX_MESSAGE_BYTES = 16 * MIB  # a thousand times the usual size
CHANNEL_SEND_SECONDS = 30.0  # the peer reads at once unless it hangs or is starved of CPU
_LENGTH = struct.Struct("!I")


class CoalescingQueue:
    """Instructions not yet sent: the latest of each kind, in the order of arrival.

    A child that does not read therefore costs no memory.
    """

    def __init__(self) -> None:
        self._waiting: dict[object, Instruction] = {}
        self._filled = anyio.Event()

    def put(self, instruction: Instruction) -> None:
        """Queue an instruction; it replaces a waiting one of the same kind."""
        self._waiting[kind_of(instruction)] = instruction
        self._filled.set()

    async def get(self) -> Instruction:
        """Wait for the next instruction, and remove it."""
        await self._filled.wait()
        instruction = self._waiting.pop(next(iter(self._waiting)))
        if not self._waiting:
            self._filled = anyio.Event()
        return instruction

    def __len__(self) -> int:
        """The number of waiting instructions."""
        return len(self._waiting)


class ChildChannel:
    """One end of the channel, for any number of senders and one receiver."""

    def __init__(
        self, stream: UNIXSocketStream, send_seconds: float = CHANNEL_SEND_SECONDS
    ) -> None:
        self._stream = stream
        self._send_seconds = send_seconds
        self._sending = anyio.Lock()
        self._received = BufferedByteReceiveStream(stream)

    @classmethod
    async def from_socket(
        cls, end: socket.socket, send_seconds: float = CHANNEL_SEND_SECONDS
    ) -> ChildChannel:
        """Wrap a connected socket. ``send_seconds``: how long a peer may not read."""
        return cls(await UNIXSocketStream.from_socket(end), send_seconds)

    async def close(self) -> None:
        """Close this end."""
        await self._stream.aclose()

    async def send_instruction(self, instruction: Instruction) -> bool:
        """Send to the child; False if it does not read. A child that is gone counts as sent."""
        return await self._send(pickle.dumps(instruction))

    async def next_instruction(self) -> Instruction | None:
        """Wait for the daemon's next instruction; None if it is gone."""
        message = await self._receive()
        if message is None:
            return None
        instruction: Instruction = pickle.loads(message)  # noqa: S301 - from the process that forked this one
        return instruction

    async def send_report(self, report: ChildMessage) -> bool:
        """Send to the daemon; False if it does not read. A daemon that is gone counts as sent."""
        return await self._send(msgspec.json.encode(report))

    async def next_report(self) -> ChildMessage | None:
        """Wait for the child's next report; None if it is gone. Raises msgspec.MsgspecError."""
        message = await self._receive()
        return None if message is None else decode_message(message)

    async def _send(self, message: bytes) -> bool:
        """Send a message, shielded from cancellation: half a message would corrupt the next one.
        After ``send_seconds`` the channel is closed.
        """
        with anyio.move_on_after(self._send_seconds, shield=True) as limit:
            try:
                async with self._sending:
                    await self._stream.send(_LENGTH.pack(len(message)) + message)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return True  # this end's receiver notices
        if limit.cancelled_caught:
            with anyio.CancelScope(shield=True):  # this end's receiver then stops
                await self.close()
        return not limit.cancelled_caught

    async def _receive(self) -> bytes | None:
        try:
            (length,) = _LENGTH.unpack(await self._received.receive_exactly(_LENGTH.size))
            if length > MAX_MESSAGE_BYTES:
                raise msgspec.ValidationError(f"A message of {length} bytes is too long")
            return await self._received.receive_exactly(length)
        except (
            anyio.IncompleteRead,
            anyio.EndOfStream,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,  # by a send that timed out
        ):
            return None
