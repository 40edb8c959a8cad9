"""Sockets that systemd opened and passed to this process: sd_listen_fds(3).

systemd keeps them open while the daemon restarts, so that no connection is refused, and it may
bind ports that the daemon's user may not. ``FileDescriptorName=`` in the unit says what a socket
is for. A socket with an unknown name is an error: it must not be ignored silently.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, MutableMapping

from imaged.core.errors import ImagedError
from imaged.server.addresses import TcpAddress

LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START


class SocketRefused(ImagedError):
    """A socket that systemd passed cannot be used."""


class ActivatedSockets:
    """Holds the passed sockets by name, and removes their variables from the environment."""

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        offered = os.environ if environment is None else environment
        pid = offered.pop("LISTEN_PID", "")
        count = offered.pop("LISTEN_FDS", "0")
        names = offered.pop("LISTEN_FDNAMES", "").split(":")
        self._by_name: dict[str, list[socket.socket]] = {}
        if pid != str(os.getpid()):  # the sockets are for another process
            return
        for number in range(int(count)):
            name = names[number] if number < len(names) else ""
            self._by_name.setdefault(name, []).append(_adopt(LISTEN_FDS_START + number))

    def require_known(self, names: Collection[str]) -> None:
        """Raises SocketRefused for a socket that has another name or does not listen."""
        for name, sockets in self._by_name.items():
            if name not in names:
                raise SocketRefused(
                    f'systemd passed a socket named "{name}": set FileDescriptorName= in its '
                    f"unit to one of {', '.join(sorted(names))}."
                )
            for one in sockets:
                if not _listens(one):
                    raise SocketRefused(
                        f'The socket "{name}" that systemd passed does not listen: use '
                        "ListenStream= and Accept=no in its unit."
                    )

    def named(self, name: str) -> list[socket.socket]:
        """Return the sockets with this name."""
        return self._by_name.get(name, [])


def reachable_from_network(listeners: Iterable[socket.socket]) -> bool:
    """Whether a listener is bound to an address that other machines can reach."""
    return any(
        not TcpAddress(*one.getsockname()[:2]).is_local_only
        for one in listeners
        if one.family is not socket.AF_UNIX
    )


def _adopt(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - socket's API
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)  # noqa: FBT003 - socket's API
    return adopted


def _listens(one: socket.socket) -> bool:
    return bool(
        one.type is socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )
