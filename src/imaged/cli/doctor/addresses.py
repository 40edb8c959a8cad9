"""Checks of the addresses: whether a daemon answers, whether a socket can be created."""

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
        async with open_http_session(read_endpoint(where)) as wire, wire.ask("GET", READINESS_PATH):
            return ok(subject, "A daemon answers there, and is ready.")
    except ConnectionFailed:
        return _no_answer(subject, address)
    except ClientError as error:
        return problem(
            subject,
            f"The service that answers there is not ready: {error}",
            "See its log: journalctl -u imaged",
        )


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
