"""The addresses: whether somebody answers there, and whether a socket can be made."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from imaged.cli.doctor.finding import Finding, ok, problem, warning
from imaged.cli.endpoint_options import reachable_url
from imaged.client.endpoint import read_endpoint
from imaged.client.errors import ClientError, ConnectionFailed
from imaged.client.http_session import open_http_session
from imaged.config import Config
from imaged.server.addresses import Address, TcpAddress, UnixAddress

READINESS_PATH = "/readyz"


async def check_addresses(config: Config) -> AsyncIterator[Finding]:
    """Each of them; a daemon that is not running is no problem of its own."""
    for finding in _check_metrics_addresses(config):
        yield finding
    if "api" not in config.daemon.roles:
        return
    for address in config.api.bind:
        yield await _check_address(address)


def _check_metrics_addresses(config: Config) -> Iterator[Finding]:
    """Addresses of figures that other machines reach, and where nothing is asked of them."""
    for address in config.metrics.bind:
        if isinstance(address, TcpAddress) and not address.is_local_only:
            subject = f"figures at {address}"
            if config.metrics.token_file:
                yield ok(subject, "They are told to those who show the token.")
            else:
                yield warning(
                    subject,
                    "Everybody reads them who reaches the address.",
                    "Set metrics.token_file, or give them an address of this machine alone.",
                )


async def _check_address(address: Address) -> Finding:
    subject = f"address {address}"
    where = reachable_url((address,))
    if where is None:
        return ok(subject, "The system will choose a port.")
    try:
        async with open_http_session(read_endpoint(where)) as wire, wire.ask("GET", READINESS_PATH):
            return ok(subject, "A daemon answers there, and is ready.")
    except ConnectionFailed:
        return _no_answer(subject, address)
    except ClientError as error:
        return problem(
            subject,
            f"What answers there is not ready: {error}",
            "See its log: journalctl -u imaged",
        )


def _no_answer(subject: str, address: Address) -> Finding:
    if isinstance(address, UnixAddress) and not _can_be_made(address.path):
        return warning(
            subject,
            f"Nobody answers there, and no socket can be made in {address.path.parent}.",
            "A folder in /run is made by RuntimeDirectory of the unit; make others yourself.",
        )
    return ok(subject, "Nobody answers there yet.")


def _can_be_made(path: Path) -> bool:
    return os.access(path.parent, os.W_OK | os.X_OK)
