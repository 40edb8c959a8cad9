"""Service, token and certificates of ``push`` and ``pull``.

The address is ``--url``; else IMAGED_URL, OS_IMAGE_ENDPOINT_OVERRIDE or OS_ENDPOINT; else where the
daemon of the local configuration listens; else http://127.0.0.1:9292. The token is in the file of
``--token-file``; else in IMAGED_TOKEN or OS_TOKEN: never in the command line, which every user of
the machine can read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imaged.cli.options import FILE, config_option

if TYPE_CHECKING:
    from imaged.client.endpoint import Endpoint
    from imaged.server.addresses import Address

F = TypeVar("F", bound=Callable[..., Any])

URL_VARIABLES = ("IMAGED_URL", "OS_IMAGE_ENDPOINT_OVERRIDE", "OS_ENDPOINT")
TOKEN_VARIABLES = ("IMAGED_TOKEN", "OS_TOKEN")
CA_FILE_VARIABLES = ("IMAGED_CA_FILE", "OS_CACERT")


def endpoint_options(command: F) -> F:
    """``--url``, ``--token-file``, ``--ca-file`` and ``--config``."""
    for option in (
        config_option,
        click.option(
            "--ca-file",
            metavar="FILE",
            type=FILE,
            help="Certificates (PEM) to trust; default: IMAGED_CA_FILE, OS_CACERT, the system's.",
        ),
        click.option(
            "--token-file",
            metavar="FILE",
            type=FILE,
            help="The file with your token; default: IMAGED_TOKEN or OS_TOKEN.",
        ),
        click.option(
            "--url",
            metavar="URL",
            help="The service: http(s)://host:port or unix:/path; default: IMAGED_URL, "
            "OS_IMAGE_ENDPOINT_OVERRIDE, OS_ENDPOINT, or the configuration's first address.",
        ),
    ):
        command = option(command)
    return command


def choose_endpoint(
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    config_file: Path | None,
    environment: Mapping[str, str] = os.environ,
) -> Endpoint:
    """The endpoint to use. Raises EndpointInvalid; ConfigInvalid for the file of --config."""
    from imaged.client.endpoint import read_endpoint, read_token

    trusted = ca_file or _first(environment, CA_FILE_VARIABLES)
    token = _first(environment, TOKEN_VARIABLES)
    return read_endpoint(
        url or _first(environment, URL_VARIABLES) or _local_address(config_file, environment),
        token=token if token_file is None else read_token(token_file),
        ca_file=None if trusted is None else Path(trusted),
    )


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def _local_address(config_file: Path | None, environment: Mapping[str, str]) -> str:
    from imaged.client.endpoint import DEFAULT_URL
    from imaged.config import ConfigInvalid, load

    try:
        addresses = load(config_file, environment).api.bind
    except ConfigInvalid:
        if config_file is not None:
            raise
        return DEFAULT_URL
    return reachable_url(addresses) or DEFAULT_URL


def reachable_url(addresses: tuple[Address, ...]) -> str | None:
    """The URL of the first address that this machine can connect to."""
    from imaged.server.addresses import TcpAddress

    for address in addresses:
        match address:
            case TcpAddress(port=0):  # the system chose another one
                continue
            case TcpAddress(host="0.0.0.0", port=port):  # noqa: S104 - all of this machine
                return f"http://127.0.0.1:{port}"
            case TcpAddress(host="::", port=port):
                return f"http://[::1]:{port}"
            case TcpAddress():
                return f"http://{address}"
            case _:
                return str(address)
    return None
