"""Sockets that systemd holds: no connection is refused during a restart."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from support.booted import Machine
from support.machine_client import MachineClient

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

CLIENTS = 4
RESTARTS = 2


def ask_until(told: threading.Event, client: MachineClient, answers: Counter[str]) -> None:
    """Ask again and again, each time on a new connection, and count what came."""
    while not told.is_set():
        try:
            status, _ = client.ask("GET", "/v2/images")
            answers[str(status)] += 1
        except OSError as error:
            answers[type(error).__name__] += 1


def test_the_first_connection_starts_it(machine: Machine) -> None:
    """The address is there before imaged is, and connections wait for it."""
    machine.systemctl("enable", "--now", "imaged.socket")
    assert machine.show("imaged", "ActiveState") == "inactive"

    assert MachineClient(machine).ask("GET", "/healthcheck") == (200, b"OK")
    assert machine.show("imaged", "ActiveState") == "active"


def test_no_connection_is_refused_across_a_restart(machine: Machine) -> None:
    """Each of several clients, without pauses, gets an answer each time."""
    machine.systemctl("enable", "--now", "imaged.socket")
    client, told, answers = MachineClient(machine), threading.Event(), Counter[str]()
    client.ask("GET", "/v2/images")
    askers = [
        threading.Thread(target=ask_until, args=(told, client, answers)) for _ in range(CLIENTS)
    ]
    for asker in askers:
        asker.start()
    try:
        before = {machine.show("imaged", "MainPID")}
        for _ in range(RESTARTS):
            machine.systemctl("restart", "imaged")
            before.add(machine.show("imaged", "MainPID"))
    finally:
        told.set()
        for asker in askers:
            asker.join()

    assert len(before) == 1 + RESTARTS
    assert answers.keys() == {"200"}, answers


def test_a_socket_for_strangers_needs_a_method(machine: Machine) -> None:
    """A socket that others can reach is no way around what guards api.bind."""
    machine.override("imaged.socket", {"ListenStream": "\nListenStream=0.0.0.0:9292"}, "Socket")
    machine.override("imaged.service", {"Restart": "no"})
    machine.systemctl("start", "imaged.socket")

    assert machine.attempt("systemctl", "start", "imaged").returncode != 0
    assert "every client would be an administrator" in machine.log("imaged")
