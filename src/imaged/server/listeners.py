"""Listening sockets of the server."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from imaged.core.errors import ImagedError
from imaged.server.addresses import Address, UnixAddress

BACKLOG = 1024
SOCKET_MODE = 0o660  # members of the group may connect


class CannotListen(ImagedError):
    """An address is in use, or does not belong to this machine."""

    def __init__(self, address: str, error: OSError) -> None:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror or error  # names have others
        super().__init__(f"Cannot listen on {address}: {why}.")


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
