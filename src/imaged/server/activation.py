"""Sockets that the service manager opened for us: sd_listen_fds(3).

It keeps them open while we are restarted, so that nobody is refused; and it may open what we may
not. Each has a name, ``FileDescriptorName=`` of its unit, which says what it is for. One whose name
says nothing to us is an error: what somebody opened for us should not stay silent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, MutableMapping

from imaged.config.addresses import TcpAddress
from imaged.core.errors import ImagedError

LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START


class SocketRefused(ImagedError):
    """A socket was handed over that cannot be used."""


class ActivatedSockets:
    """The sockets by their names. Its variables are taken out of the environment."""

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        offered = os.environ if environment is None else environment
        pid = offered.pop("LISTEN_PID", "")
        count = offered.pop("LISTEN_FDS", "0")
        names = offered.pop("LISTEN_FDNAMES", "").split(":")
        self._by_name: dict[str, list[socket.socket]] = {}
        if pid != str(os.getpid()):  # they are another process's
            return
        for number in range(int(count)):
            name = names[number] if number < len(names) else ""
            self._by_name.setdefault(name, []).append(_adopt(LISTEN_FDS_START + number))

    def require_known(self, names: Collection[str]) -> None:
        """Raises SocketRefused for a socket that has none of these names, or does not listen."""
        for name, sockets in self._by_name.items():
            if name not in names:
                raise SocketRefused(
                    f'systemd handed over a socket named "{name}": set FileDescriptorName= in its '
                    f"unit to one of {', '.join(sorted(names))}."
                )
            for one in sockets:
                if not _listens(one):
                    raise SocketRefused(
                        f'The socket "{name}" that systemd handed over does not listen: use '
                        "ListenStream= and Accept=no in its unit."
                    )

    def named(self, name: str) -> list[socket.socket]:
        """Those of this name."""
        return self._by_name.get(name, [])


def reachable_from_network(listeners: Iterable[socket.socket]) -> bool:
    """Whether any of them can be reached from other machines."""
    return any(
        not TcpAddress(*one.getsockname()[:2]).is_local_only
        for one in listeners
        if one.family is not socket.AF_UNIX
    )


def _adopt(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - its name in the library
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)  # noqa: FBT003 - the same
    return adopted


def _listens(one: socket.socket) -> bool:
    return bool(
        one.type is socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )
