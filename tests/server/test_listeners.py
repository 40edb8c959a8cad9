"""Listening sockets: opened, and passed by systemd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from imaged.config.types import parse_address
from imaged.server.listeners import (
    ActivatedSockets,
    CannotListen,
    listener_address,
    open_listeners,
    reachable_from_network,
)
from imaged.server.settings import UnixAddress
from support.service_manager import activating


def test_a_name_is_listened_on_wherever_it_leads() -> None:
    """All addresses of localhost answer, and their ports are told."""
    with open_listeners([parse_address("localhost:0")]) as listeners:
        for listener in listeners:
            with socket.create_connection(listener.getsockname()[:2], 5):
                pass

        assert all(listener_address(listener).split(":")[-1] != "0" for listener in listeners)
        assert listeners


def _file(path: Path, _: ExitStack) -> None:
    path.write_text("precious")


def _datagrams(path: Path, stack: ExitStack) -> None:
    stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)).bind(str(path))


def _busy(path: Path, stack: ExitStack) -> None:
    hung = stack.enter_context(socket.socket(socket.AF_UNIX))
    hung.bind(str(path))
    hung.listen(0)
    _fill(path, stack)


@pytest.mark.parametrize(
    ("occupy", "why"), [(_file, "File exists"), (_datagrams, "in use"), (_busy, "in use")]
)
def test_what_is_in_the_way_is_left_alone(
    tmp_path: Path, occupy: Callable[[Path, ExitStack], None], why: str
) -> None:
    """Only stale sockets are removed; a file or a socket of others stays, and is not waited for."""
    path = tmp_path / "api.sock"
    with ExitStack() as stack:
        occupy(path, stack)
        before = path.stat()

        with pytest.raises(CannotListen, match=why), open_listeners([UnixAddress(path)]):
            pass

        assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)


def test_the_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    """A predecessor that is still shutting down does not remove the successor's socket."""
    path = tmp_path / "api.sock"
    with ExitStack() as successor:
        with open_listeners([UnixAddress(path)]) as (listener,):
            listener.close()
            successor.enter_context(open_listeners([UnixAddress(path)]))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def _fill(path: Path, clients: ExitStack) -> None:
    """Connect until the backlog is full."""
    while True:
        client = clients.enter_context(socket.socket(socket.AF_UNIX))
        client.setblocking(False)
        if client.connect_ex(str(path)):
            return


def test_listeners_are_closed_when_one_fails(tmp_path: Path) -> None:
    """Neither a port nor a path is kept."""
    path, missing = tmp_path / "api.sock", tmp_path / "missing/api.sock"

    with (
        pytest.raises(CannotListen, match="No such file"),
        open_listeners([UnixAddress(path), UnixAddress(missing)]),
    ):
        pass

    assert not path.exists()


def test_a_name_that_leads_nowhere_is_told() -> None:
    """The error contains the address."""
    address = parse_address("nowhere.invalid:9292")

    with pytest.raises(CannotListen, match=r"nowhere\.invalid:9292: "), open_listeners([address]):
        pass


def test_a_socket_is_for_its_group(tmp_path: Path) -> None:
    """Only the user and the group may connect."""
    path = tmp_path / "api.sock"

    with open_listeners([UnixAddress(path)]):
        assert path.stat().st_mode & 0o777 == 0o660


#: Prints the sockets that a process received.
PRINT_SOCKETS = """
import os
from imaged.server.listeners import ActivatedSockets, SocketRefused
activated = ActivatedSockets()
try:
    activated.require_known(["api"])
except SocketRefused as error:
    print(error)
else:
    print([(one.getsockname()[0], one.getblocking()) for one in activated.named("api")])
print(sorted(name for name in os.environ if name.startswith("LISTEN_")))
"""


def received(sockets: dict[str, socket.socket]) -> list[str]:
    """Return what a process prints about its sockets."""
    done = subprocess.run(
        [*activating(sockets), sys.executable, "-c", PRINT_SOCKETS],
        capture_output=True,
        check=True,
        encoding="utf-8",
        pass_fds=[one.fileno() for one in sockets.values()],
    )
    return done.stdout.splitlines()


def test_a_socket_is_known_by_its_name() -> None:
    """The socket is usable, and children do not inherit it."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        assert received({"api": opened}) == ["[('127.0.0.1', False)]", "[]"]


def test_an_unknown_name_is_refused() -> None:
    """A socket passed by systemd must not be ignored silently."""
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        complaint, _ = received({"api": one, "imaged.socket": other})

    assert complaint == (
        'systemd passed a socket named "imaged.socket": set FileDescriptorName= in its unit '
        "to one of api."
    )


def test_a_socket_that_does_not_listen_is_refused() -> None:
    """Accept=yes passes connections, one for each process, which a daemon cannot use."""
    with socket.socket() as opened:
        complaint, _ = received({"api": opened})

    assert complaint.startswith('The socket "api" that systemd passed does not listen')


def test_what_is_for_another_process_is_left_alone() -> None:
    """A child that inherits the environment finds no sockets in it."""
    environment = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "api"}

    activated = ActivatedSockets(environment)

    assert activated.named("api") == []
    assert not environment


@pytest.mark.parametrize(
    ("address", "answer"),
    [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True), ("::", True)],
)
def test_others_can_connect_to_what_is_not_loopback(address: str, *, answer: bool) -> None:
    """The address decides; a unix socket is local."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        socket.create_server((address, 0), family=family) as one,
        socket.socket(socket.AF_UNIX) as path,
    ):
        assert reachable_from_network([path, one]) is answer
