"""What commands that ask a service share: their options, and progress on a terminal.

The service is, in this order: that of an option (``--url``, ``--profile``, ``--cloud``,
``--config``); of a variable (IMAGED_URL, IMAGED_PROFILE, OS_IMAGE_ENDPOINT_OVERRIDE, OS_ENDPOINT);
the one that `imaged login` remembered; the cloud of OS_CLOUD; that of the variables OS_AUTH_URL …;
the daemon of the local configuration; http://127.0.0.1:9292.

A profile or a cloud has a token or an account of its own, which goes nowhere else, and no other one
goes there, unless ``--token-file`` names it. For the other addresses it is in IMAGED_TOKEN or
OS_TOKEN: never in the command line, which every user of the machine can read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaged.cli.options import FILE_TYPE, config_option, json_option
from imaged.client.transfer import DEFAULT_TRIES, NoProgress, Progress
from imaged.units import approximate_duration, approximate_size

if TYPE_CHECKING:
    from imaged.client.http_session import Endpoint
    from imaged.server.settings import Address

URL_VARIABLES = ("IMAGED_URL", "OS_IMAGE_ENDPOINT_OVERRIDE", "OS_ENDPOINT")
PROFILE_VARIABLE = "IMAGED_PROFILE"
TOKEN_VARIABLES = ("IMAGED_TOKEN", "OS_TOKEN")
CA_FILE_VARIABLES = ("IMAGED_CA_FILE", "OS_CACERT")
SHORTEST_SECONDS = 0.1  # what is shown of a time
ROUNDED_SECONDS = 10  # from here on without decimals

_SERVICE_OPTIONS = (
    json_option,
    config_option,
    click.option(
        "--ca-file",
        metavar="FILE",
        type=FILE_TYPE,
        help="Certificates (PEM) to trust; default: the profile's, IMAGED_CA_FILE, OS_CACERT, the "
        "system's.",
    ),
    click.option(
        "--token-file",
        metavar="FILE",
        type=FILE_TYPE,
        help="The file with your token; default: the profile's, IMAGED_TOKEN or OS_TOKEN.",
    ),
    click.option(
        "--cloud",
        metavar="NAME",
        help="A cloud of clouds.yaml; default: OS_CLOUD, unless there was a login.",
    ),
    click.option(
        "--profile",
        metavar="NAME",
        help="A server that `imaged login` remembered, or a cloud of clouds.yaml; default: "
        "IMAGED_PROFILE, or the last login.",
    ),
    click.option(
        "--url",
        metavar="URL",
        help="The service: http(s)://host:port or unix:/path; default: IMAGED_URL, the profile, "
        "the cloud of OS_CLOUD or OS_AUTH_URL, or the configuration's first address.",
    ),
)
_TRANSFER_OPTIONS = (
    *_SERVICE_OPTIONS,
    click.option(
        "-q", "--quiet", is_flag=True, help="Show no progress, and print only the result."
    ),
    click.option(
        "--tries",
        metavar="N",
        type=click.IntRange(1, 100),
        default=DEFAULT_TRIES,
        show_default=True,
        help="The number of tries after broken connections, in all.",
    ),
)


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """The options of commands that ask a service, as given."""

    tries: int = DEFAULT_TRIES
    url: str | None = None
    profile: str | None = None
    cloud: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    file: Path | None = None  # of the configuration
    quiet: bool = False
    as_json: bool = False

    @property
    def shows_progress(self) -> bool:
        """Whether more than the result is printed."""
        return not (self.quiet or self.as_json)

    def endpoint(self, environment: Mapping[str, str] = os.environ) -> Endpoint:
        """The endpoint to use. Raises EndpointInvalid, ProfileInvalid; ConfigInvalid for the file
        of --config.
        """
        from imaged.client.http_session import read_endpoint, read_token

        server = self._named_server(environment)
        if server is None:
            trusted = _first(environment, CA_FILE_VARIABLES)
            server = read_endpoint(
                self._address(environment),
                token=_first(environment, TOKEN_VARIABLES) if self.token_file is None else None,
                ca_file=Path(trusted) if trusted and self.ca_file is None else None,
            )
        if self.token_file is not None:
            server = server.with_token(read_token(self.token_file))
        return read_endpoint(
            server.address,
            token=server.token,
            ca_file=self.ca_file or server.ca_file,
            account=server.account,
        )

    def _named_server(self, environment: Mapping[str, str]) -> Endpoint | None:
        """The server of the profile or cloud, unless an address goes before it."""
        from imaged.client import clouds, profiles

        if sum(name is not None for name in (self.url, self.profile, self.cloud)) > 1:
            raise click.UsageError("--url, --profile and --cloud name the service: use one.")
        if self.profile is not None:
            return profiles.find_server(self.profile, environment)
        if self.cloud is not None:
            return clouds.read_cloud(self.cloud, environment)
        if self.url or self.file or environment.get(URL_VARIABLES[0]):
            return None
        if named := environment.get(PROFILE_VARIABLE):
            return profiles.find_server(named, environment)
        return _usual_server(environment)

    def _address(self, environment: Mapping[str, str]) -> str:
        """The address that is given, or that of the local daemon."""
        named = None if self.file else _first(environment, URL_VARIABLES)
        return self.url or named or _local_address(self.file, environment)

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """Show progress while the block runs; standard output is left to the result."""
        if not self.shows_progress:
            yield NoProgress()
        elif not sys.stderr.isatty():
            yield ProgressLines()
        else:
            from rich.console import Console

            from imaged.cli.progress import progress_bar

            with progress_bar(what, Console(stderr=True)) as bar:
                yield bar


def transfer_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of transfers; the command gets them as ``options``, a TransferOptions."""
    return _with_options(command, _TRANSFER_OPTIONS)


def service_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of other calls; the command gets them as ``options``, a TransferOptions."""
    return _with_options(command, _SERVICE_OPTIONS)


def _with_options(
    command: Callable[..., None],
    options: Iterable[Callable[[Callable[..., None]], Callable[..., None]]],
) -> Callable[..., None]:
    names = {field.name for field in fields(TransferOptions)}

    @wraps(command)
    def run(**given: Any) -> None:
        shared = {name: given.pop(name) for name in names & given.keys()}
        command(options=TransferOptions(**shared), **given)

    decorated: Callable[..., None] = run
    for option in options:
        decorated = option(decorated)
    return decorated


def reachable_url(addresses: tuple[Address, ...]) -> str | None:
    """The URL of the first address that this machine can connect to."""
    from imaged.server.settings import TcpAddress

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


def transfer_summary(size_bytes: int, took: timedelta, verified_by: str | None, tries: int) -> str:
    """The last line about a transfer: its size, time and mean rate, and which digest was equal."""
    verified = f"{verified_by} verified" if verified_by else "not verified: there is no digest"
    if tries == 0:
        return f"Nothing was left to transfer; {verified}."
    seconds = max(took.total_seconds(), SHORTEST_SECONDS)
    time = approximate_duration(took) if seconds >= ROUNDED_SECONDS else f"{seconds:.1f}s"
    again = f", in {tries} tries" if tries > 1 else ""
    rate = approximate_size(int(size_bytes / seconds))
    return f"{approximate_size(size_bytes)} in {time}{again}, {rate}/s; {verified}."


class ProgressLines:
    """Prints notes on standard error, and no progress."""

    def begin(self, total_bytes: int | None, done_bytes: int = 0) -> None:
        """Print nothing."""

    def advance(self, size_bytes: int) -> None:
        """Print nothing."""

    def note(self, sentence: str) -> None:
        """Print the sentence."""
        click.echo(sentence, err=True)


def _usual_server(environment: Mapping[str, str]) -> Endpoint | None:
    """The server that nothing of ours names: of the variables, or of the last login."""
    from imaged.client import clouds, profiles

    signs_in = clouds.signs_in(environment)
    if not _first(environment, URL_VARIABLES):
        remembered = profiles.read_profiles(profiles.profiles_file(environment))
        if remembered.default is not None:
            return remembered.servers[remembered.default]
        if cloud := environment.get(clouds.CLOUD_VARIABLE):
            return clouds.read_cloud(cloud, environment)
    return clouds.read_variables(environment) if signs_in else None


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def _local_address(config_file: Path | None, environment: Mapping[str, str]) -> str:
    from imaged.client.http_session import DEFAULT_URL
    from imaged.config import ConfigInvalid, load

    try:
        addresses = load(config_file, environment).api.bind
    except ConfigInvalid:
        if config_file is not None:
            raise
        return DEFAULT_URL
    return reachable_url(addresses) or DEFAULT_URL
