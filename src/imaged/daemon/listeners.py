"""The sockets that requests come in by."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from imaged.config.addresses import Address, UnixAddress
from imaged.core.errors import ImagedError

BACKLOG = 1024
SOCKET_MODE = 0o660  # whoever may come in is put into the group


class CannotListen(ImagedError):
    """An address is taken, or is not ours."""

    def __init__(self, address: str, error: OSError) -> None:
        why = os.strerror(error.errno) if error.errno else error
        super().__init__(f"Cannot listen on {address}: {why}.")


@contextmanager
def listening(addresses: Iterable[Address]) -> Iterator[list[socket.socket]]:
    """Listen on all of them for as long as the block runs. Raises CannotListen."""
    with ExitStack() as sockets:
        yield [sockets.enter_context(_listening(address)) for address in addresses]


def name_of(listener: socket.socket) -> str:
    """The address as the operator writes it, with the port that the system chose."""
    name = listener.getsockname()
    if listener.family is socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def _listening(address: Address) -> Iterator[socket.socket]:
    try:
        if isinstance(address, UnixAddress):
            listener = _listen_on_path(address.path)
        else:
            listener = _listen_on_port(address.host, address.port)
    except OSError as error:
        raise CannotListen(str(address), error) from error
    with listener:
        try:
            yield listener
        finally:
            if isinstance(address, UnixAddress):
                address.path.unlink(missing_ok=True)


def _listen_on_port(host: str, port: int) -> socket.socket:
    passive = socket.AI_PASSIVE
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=passive)
    family, _, _, _, place = found[0]
    listener = socket.create_server(place[:2], family=family, backlog=BACKLOG)
    listener.setblocking(False)  # noqa: FBT003 - its name in the library
    return listener


def _listen_on_path(path: Path) -> socket.socket:
    _remove_abandoned(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(SOCKET_MODE)
        listener.listen(BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - its name in the library
    except OSError:
        listener.close()
        raise
    return listener


def _remove_abandoned(path: Path) -> None:
    """Remove the socket that a killed process left; one that answers is somebody's."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "something that is no socket is in the way")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, "another process listens there")
        path.unlink()
