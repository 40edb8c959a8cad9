"""``imaged login``, ``imaged profiles`` and ``imaged logout``: the servers that are remembered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaged.cli.keystone_options import KeystoneOptions, ask_for_secret, keystone_options
from imaged.cli.options import FILE_TYPE, json_option
from imaged.cli.output import print_json, print_sentence
from imaged.cli.tables import print_table
from imaged.units import pluralize

if TYPE_CHECKING:
    from imaged.client.http_session import Endpoint
    from imaged.client.profiles import Profiles


@click.command()
@click.argument("url", metavar="[URL]", required=False)
@click.option("--profile", "name", metavar="NAME", help="Its name; default: host and port.")
@click.option(
    "--token-file",
    metavar="FILE",
    type=FILE_TYPE,
    help="The file with your token; default: it is asked for, or read from standard input.",
)
@click.option(
    "--ca-file", metavar="FILE", type=FILE_TYPE, help="Certificates (PEM) to trust for it."
)
@keystone_options
@json_option
def login(
    url: str | None,
    *,
    name: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    as_json: bool,
    **keystone: Any,
) -> None:
    """Remember the server at URL, with a token if it wants one, for the commands that ask it.

    URL is http(s)://host:port or unix:/path. With --auth-url commands sign in to Keystone, which
    knows the server, unless URL names it; without both, as the variables OS_AUTH_URL … say. A
    password is asked for, or read from standard input.

    The server is asked before anything is kept: in ~/.config/imaged/profiles.toml, which other
    users cannot read.
    """
    from imaged.client.profiles import profile_name, profiles_file, read_profiles, write_profiles

    options = KeystoneOptions(**keystone)
    trusted = None if ca_file is None else ca_file.absolute()
    file = profiles_file(os.environ)
    if options.are_given or url is None:
        server = options.server(url or "", token_file, trusted)
        profiles = read_profiles(file).with_server(name or profile_name(server), server)
        _try(server)
    else:
        server, profiles = _by_token(url, name, token_file, trusted)
    name = name or profile_name(server)
    write_profiles(file, profiles)
    if as_json:
        print_json({**_facts(name, server), "file": str(file)})
    else:
        print_sentence(f"Commands use {server} now. It is remembered as {name}, in {file}.")


@click.command()
@click.option("--default", "default", metavar="NAME", help="Let commands use this one.")
@json_option
def profiles(*, default: str | None, as_json: bool) -> None:
    """List the servers that `imaged login` remembered.

    Commands use the default, unless --profile, --url or a variable names another one.
    """
    from imaged.client.profiles import profiles_file, read_profiles, write_profiles

    file = profiles_file(os.environ)
    remembered = read_profiles(file)
    if default is not None:
        remembered = remembered.with_default(default)
        write_profiles(file, remembered)
    servers = sorted(remembered.servers.items())
    if as_json:
        listed = [_facts(name, server) for name, server in servers]
        print_json({"default": remembered.default, "profiles": listed})
        return
    print_table(
        f"{pluralize(len(servers), 'profile')} in {file}",
        ("profile", "server", "token", "default"),
        [
            (
                name,
                str(server),
                _how_it_signs_in(server),
                "yes" if name == remembered.default else "",
            )
            for name, server in servers
        ],
    )


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@json_option
def logout(name: str | None, *, as_json: bool) -> None:
    """Forget a server and its token or password; without NAME, the one that commands use.

    They remain valid: only the operator can take a token back.
    """
    from imaged.client.profiles import profiles_file, read_profiles, write_profiles

    file = profiles_file(os.environ)
    remembered = read_profiles(file)
    name = name or remembered.default
    if name is None:
        raise click.UsageError("No server is used by default: name one of `imaged profiles`.")
    server = remembered.require(name)
    write_profiles(file, remembered.without(name))
    if as_json:
        print_json(_facts(name, server))
    else:
        print_sentence(f"{name} ({server}) is forgotten.")


def _by_token(
    url: str, name: str | None, token_file: Path | None, ca_file: Path | None
) -> tuple[Endpoint, Profiles]:
    """The server that is asked without Keystone, and the profiles with it."""
    from imaged.client.errors import AuthenticationFailed
    from imaged.client.http_session import read_endpoint, read_token
    from imaged.client.profiles import profile_name, profiles_file, read_profiles

    token = None if token_file is None else read_token(token_file)
    server = read_endpoint(url, token=token, ca_file=ca_file)
    name = name or profile_name(server)
    profiles = read_profiles(profiles_file(os.environ)).with_server(name, server)
    try:
        _try(server)
    except AuthenticationFailed:
        if token is not None:  # a wrong one
            raise
        token = ask_for_secret(f"Token for {server}", f"{server} wants a token", "--token-file")
        server = read_endpoint(str(server), token=token, ca_file=ca_file)
        _try(server)
        profiles = profiles.with_server(name, server)
    return server, profiles


def _try(server: Endpoint) -> None:
    """List one image. Raises ConnectionFailed, ErrorResponse, UnexpectedResponse."""
    import anyio

    from imaged.client.image_api import open_image_api

    async def run() -> None:
        async with open_image_api(server) as service:
            await service.list({}, 1)

    anyio.run(run)


def _how_it_signs_in(server: Endpoint) -> str:
    if server.account is not None:
        return f"of Keystone, for {server.account.who}"
    return "yes" if server.token else "no"


def _facts(name: str, server: Endpoint) -> dict[str, Any]:
    return {
        "profile": name,
        "url": server.address or None,  # in the catalog
        "auth_url": None if server.account is None else server.account.url,
        "has_token": server.token is not None,
    }
