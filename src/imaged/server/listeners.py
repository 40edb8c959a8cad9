"""Listening sockets: opened by this process, or opened by systemd and passed to it.

systemd keeps its sockets open while the daemon restarts, so that no connection is refused, and it
may bind ports that the daemon's user may not: sd_listen_fds(3). ``FileDescriptorName=`` in the unit
says what a socket is for. A socket with an unknown name is an error: it must not be ignored
silently.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Collection, Iterable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from imaged.core.errors import ImagedError
from imaged.server.settings import Address, TcpAddress, UnixAddress

BACKLOG = 1024
SOCKET_MODE = 0o660  # members of the group may connect
LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START

#: Not permitted, or a file in the way: other addresses become free, or their network comes up.
_LASTING = {errno.EACCES, errno.EPERM, errno.EEXIST}

_REMEDIES = {
    errno.EADDRINUSE: ": another program, perhaps an imaged, listens there. Stop it, or choose "
    "another address in api.bind or metrics.bind",
    errno.EADDRNOTAVAIL: ": correct it, or bring up its network",
}


class CannotListen(ImagedError):
    """An address is in use, or does not belong to this machine."""

    def __init__(self, address: str, error: OSError) -> None:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror or error  # names have others
        super().__init__(f"Cannot listen on {address}: {why}{_REMEDIES.get(number, '')}.")
        self.needs_correction = number in _LASTING


class SocketRefused(ImagedError):
    """A socket that systemd passed cannot be used."""

    needs_correction = True


@contextmanager
def open_listeners(addresses: Iterable[Address]) -> Iterator[list[socket.socket]]:
    """Listen on all addresses while the block runs. Raises CannotListen."""
    with ExitStack() as opened:
        listeners: list[socket.socket] = []
        for address in addresses:
            try:
                listeners += _open_address(address, opened)
            except OSError as error:
                raise CannotListen(str(address), error) from error
        yield listeners


def listener_address(listener: socket.socket) -> str:
    """Return the address as the configuration writes it, with the actual port."""
    name = listener.getsockname()
    if listener.family is socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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


def _open_address(address: Address, opened: ExitStack) -> list[socket.socket]:
    if isinstance(address, UnixAddress):
        return [_listen_on_path(address.path, opened)]
    port = address.port
    found = socket.getaddrinfo(address.host, port, type=socket.SOCK_STREAM)
    sockaddrs = dict.fromkeys(
        (family, (str(sockaddr[0]), port)) for family, _, _, _, sockaddr in found
    )
    return [_listen_on_port(family, sockaddr, opened) for family, sockaddr in sockaddrs]


def _listen_on_port(family: int, sockaddr: tuple[str, int], opened: ExitStack) -> socket.socket:
    listener = socket.create_server(sockaddr, family=family, backlog=BACKLOG)
    return _non_blocking(opened.enter_context(listener))


def _listen_on_path(path: Path, opened: ExitStack) -> socket.socket:
    _remove_stale_socket(path)
    listener = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    listener.bind(str(path))
    ours = os.open(path, os.O_PATH | os.O_NOFOLLOW)  # keeps the inode from being reused
    opened.callback(os.close, ours)
    opened.callback(_remove_own_socket, path, ours)
    path.chmod(SOCKET_MODE)
    listener.listen(BACKLOG)
    return _non_blocking(listener)


def _non_blocking(listener: socket.socket) -> socket.socket:
    listener.setblocking(False)  # noqa: FBT003 - socket's API
    return listener


def _remove_stale_socket(path: Path) -> None:
    """Remove the socket of a killed process: only such a socket refuses connections. Raises OSError
    for a socket that answers, is busy or inaccessible, and for a file that is not a socket.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "a file that is not a socket is in the way")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # noqa: FBT003 - its name in the library
            found = probe.connect_ex(str(path))
        if found not in {errno.ECONNREFUSED, errno.ENOENT}:
            raise OSError(errno.EADDRINUSE, "another process listens there")
        path.unlink()


def _remove_own_socket(path: Path, ours: int) -> None:
    """Remove this process's socket, but not the one of a successor at the same path."""
    with suppress(FileNotFoundError):
        if os.path.samestat(path.lstat(), os.fstat(ours)):
            path.unlink()


def _adopt(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - socket's API
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)  # noqa: FBT003 - socket's API
    return adopted


def _listens(one: socket.socket) -> bool:
    return bool(
        one.type is socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )
