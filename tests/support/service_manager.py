"""A service manager: it hands sockets over, and hears what a process tells it."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MESSAGE_TIMEOUT_SECONDS = 30

Message = dict[str, str]


@dataclass(frozen=True)
class ServiceManager:
    """Listens on a socket."""

    channel: socket.socket
    address: str

    def next_message(self) -> Message:
        """Wait for the next message."""
        lines = self.channel.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def heard(self) -> list[Message]:
        """What was told since the last reading."""
        messages = []
        while select.select([self.channel], [], [], 0)[0]:
            messages.append(self.next_message())
        return messages

    def wait_for(self, is_right: Callable[[Message], bool]) -> Message:
        """Wait for a message that is right, and pass over others."""
        while not is_right(message := self.next_message()):
            pass
        return message

    def wait_for_key(self, key: str) -> Message:
        """Wait for a message that says something about this."""
        return self.wait_for(lambda message: key in message)


@contextmanager
def listening_service_manager(folder: Path) -> Iterator[ServiceManager]:
    """Listen until the block ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(MESSAGE_TIMEOUT_SECONDS)
        address = str(folder / "notify")
        channel.bind(address)
        yield ServiceManager(channel, address)


#: Puts descriptors where systemd has them, and becomes the command that follows.
ACTIVATE = """
import fcntl, os, sys
names, descriptors, *command = sys.argv[1:]
numbers = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 100) for one in descriptors.split(",")]
for place, number in enumerate(numbers, 3):
    os.dup2(number, place)
    os.close(number)
handed = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(numbers)), "LISTEN_FDNAMES": names}
os.execve(command[0], command, {**os.environ, **handed})
"""


def activating(sockets: Mapping[str, socket.socket]) -> list[str]:
    """What to put before a command, for it to find these sockets, by their names."""
    descriptors = ",".join(str(one.fileno()) for one in sockets.values())
    return [sys.executable, "-c", ACTIVATE, ":".join(sockets), descriptors]
