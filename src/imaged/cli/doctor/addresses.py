"""Checks of addresses: what listens there, a ready imaged, another program, or nothing."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

from imaged.cli.doctor import Finding, ok, problem, warning
from imaged.cli.transfers import reachable_url
from imaged.client.errors import ClientError, ConnectionFailed, ErrorResponse
from imaged.client.http_session import open_http_session, read_endpoint
from imaged.config import Config
from imaged.server.settings import Address, TcpAddress, UnixAddress

READINESS_PATH = "/readyz"
REQUEST_ID_HEADER = "X-Openstack-Request-Id"
NOT_READY = "not ready: "  # how imaged begins
PROC = Path("/proc")
LISTENING = "0A"  # <net/tcp_states.h>: TCP_LISTEN
PEER_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group


async def check_addresses(config: Config) -> AsyncIterator[Finding]:
    """Check each address; a daemon that is not running is no problem."""
    for finding in _check_metrics_addresses(config):
        yield finding
    if "api" not in config.daemon.roles:
        return
    for address in config.api.bind:
        yield await _check_address(address)


def _check_metrics_addresses(config: Config) -> Iterator[Finding]:
    """Warn of metrics addresses that other machines reach without a token."""
    for address in config.metrics.bind:
        if isinstance(address, TcpAddress) and not address.is_local_only:
            subject = f"metrics at {address}"
            if config.metrics.token_file:
                yield ok(subject, "Readers need the token.")
            else:
                yield warning(
                    subject,
                    "Every client that reaches the address can read them.",
                    "Set metrics.token_file, or use an address that only this machine can reach.",
                )


async def _check_address(address: Address) -> Finding:
    subject = f"address {address}"
    where = reachable_url((address,))
    if where is None:
        return ok(subject, "The system will choose a port.")
    try:
        async with (
            open_http_session(read_endpoint(where)) as session,
            session.ask("GET", READINESS_PATH) as answer,
        ):
            if REQUEST_ID_HEADER in answer.headers and (await answer.text()).startswith("OK"):
                return ok(subject, "A daemon answers there, and is ready.")
    except ConnectionFailed:
        if not (owner := process_behind(address)):
            return _no_answer(subject, address)
        return problem(
            subject, f"{owner} listens there, and gives no answer.", "See what it does, or end it."
        )
    except ErrorResponse as error:
        _, is_imaged, why = str(error).partition(NOT_READY)
        if is_imaged:
            return problem(
                subject,
                f"imaged answers there and is not ready: {why}. {_told(address)}",
                "See its log: journalctl -u imaged",
            )
    except ClientError:
        pass  # an answer, but not one of imaged
    return problem(
        subject,
        f"Another program answers there, not imaged. {_told(address)}",
        "End that program, or choose another address in api.bind.",
    )


def _told(address: Address) -> str:
    owner = process_behind(address)
    return f"It is {owner}." if owner else "Root can see its pid: ss -ltnp"


def process_behind(address: Address) -> str:
    """The process that listens there, such as ``nginx (pid 12)``; "" if this user cannot see it."""
    if isinstance(address, UnixAddress):
        pid = _peer_of(address.path)
        return _named(pid) if pid else ""
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):  # without IPv6
            inodes |= listening_inodes((PROC / "net" / table).read_text(), address.port)
    owners = sorted(pid for pid in _pids() if inodes & _sockets_of(pid))
    return _named(owners[-1]) if owners else ""  # systemd, the first, keeps those it passes on


def listening_inodes(table: str, port: int) -> set[str]:
    """The inodes of the sockets that listen at a port, in a table such as /proc/net/tcp."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {
        row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port
    }


def _pids() -> Iterator[int]:
    return (int(folder.name) for folder in PROC.iterdir() if folder.name.isdecimal())


def _sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets of a process; none if it ended, or is another user's."""
    found = set()
    with suppress(OSError):
        for link in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                found.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def _peer_of(path: Path) -> int:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
        return int(PEER_CREDENTIALS.unpack(told)[0])
    return 0


def _named(pid: int) -> str:
    name = ""
    with suppress(OSError):
        name = (PROC / str(pid) / "comm").read_text().strip()
    return f"{name or 'a process'} (pid {pid})"


def _no_answer(subject: str, address: Address) -> Finding:
    if isinstance(address, UnixAddress) and not _can_be_made(address.path):
        return warning(
            subject,
            f"No daemon answers there, and no socket can be created in {address.path.parent}.",
            "RuntimeDirectory of the unit creates a folder in /run; create others yourself.",
        )
    return ok(subject, "No daemon answers there yet.")


def _can_be_made(path: Path) -> bool:
    return os.access(path.parent, os.W_OK | os.X_OK)
