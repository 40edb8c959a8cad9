"""``imaged token``."""

from __future__ import annotations

import hashlib
import json
import secrets

import click

RANDOM_BYTES = 32


@click.command()
@click.option("--user", required=True, help="Who shows it; stands in the log.")
@click.option("--project", required=True, help="The owner of the images that it makes.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    default=("member",),
    show_default=True,
    type=click.Choice(["reader", "member", "admin"]),
    help="What it may do; can be given several times.",
)
def token(user: str, project: str, roles: tuple[str, ...]) -> None:
    """Make a random token, and its entry for auth.token_file.

    The token itself is printed once and kept nowhere; the entry has only its hash.
    """
    made = secrets.token_urlsafe(RANDOM_BYTES)
    digest = hashlib.sha256(made.encode()).hexdigest()
    click.echo(f"Give this to {user}, and keep it nowhere else: {made}", err=True)
    click.echo("[[token]]")
    for name, value in (
        ("sha256", digest),
        ("user", user),
        ("project", project),
        ("roles", list(roles)),
    ):
        click.echo(f"{name} = {json.dumps(value)}")
