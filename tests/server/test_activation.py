"""Sockets passed by systemd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from imaged.server.listeners import ActivatedSockets, reachable_from_network
from support.service_manager import activating

#: Prints the sockets that a process received.
LOOK = """
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


def look(sockets: dict[str, socket.socket]) -> list[str]:
    """Return what a process prints about its sockets."""
    done = subprocess.run(
        [*activating(sockets), sys.executable, "-c", LOOK],
        capture_output=True,
        check=True,
        encoding="utf-8",
        pass_fds=[one.fileno() for one in sockets.values()],
    )
    return done.stdout.splitlines()


def test_a_socket_is_known_by_its_name() -> None:
    """The socket is usable, and children do not inherit it."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        assert look({"api": opened}) == ["[('127.0.0.1', False)]", "[]"]


def test_an_unknown_name_is_refused() -> None:
    """A socket passed by systemd must not be ignored silently."""
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        complaint, _ = look({"api": one, "imaged.socket": other})

    assert complaint == (
        'systemd passed a socket named "imaged.socket": set FileDescriptorName= in its unit '
        "to one of api."
    )


def test_a_socket_that_does_not_listen_is_refused() -> None:
    """Accept=yes passes connections, one for each process, which a daemon cannot use."""
    with socket.socket() as opened:
        complaint, _ = look({"api": opened})

    assert complaint.startswith('The socket "api" that systemd passed does not listen')


def test_sockets_for_another_process_are_left_alone() -> None:
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
