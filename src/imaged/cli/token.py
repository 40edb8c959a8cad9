"""``imaged token``."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence

import click

from imaged.cli.options import json_option
from imaged.cli.output import print_json
from imaged.core.limits import MAX_OWNER_LENGTH

RANDOM_BYTES = 32


class Name(click.ParamType[str]):
    """A name that the token file may hold."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        if not value.strip() or not value.isprintable() or len(value) > MAX_OWNER_LENGTH:
            self.fail(f"{value!r} must be 1 to {MAX_OWNER_LENGTH} printable characters", param, ctx)
        return value


@click.command()
@click.option("--user", required=True, type=Name(), help="The user of the token, for the log.")
@click.option("--project", required=True, type=Name(), help="The owner of images that it creates.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    default=("member",),
    show_default=True,
    type=Name(),
    metavar="ROLE",
    help="reader, member, admin, service, or a role that your policy file names; can be given "
    "several times.",
)
@json_option
def token(user: str, project: str, roles: tuple[str, ...], *, as_json: bool) -> None:
    """Create a random token, and its entry for auth.token_file.

    The entry is printed; it has only the hash. The token itself is printed on standard error, once,
    and stored nowhere. With --json both are printed on standard output: keep it secret.
    """
    from imaged.core.policy import DEFAULT_POLICY

    for role in sorted({role.lower() for role in roles} - DEFAULT_POLICY.roles):
        click.echo(f"Only a policy file gives rights to the role {role}.", err=True)
    made = secrets.token_urlsafe(RANDOM_BYTES)
    if as_json:
        print_json({"token": made, "entry": entry(made, user, project, roles)})
        return
    click.echo(f"Give this to {user}, and keep it nowhere else: {made}", err=True)
    click.echo(entry(made, user, project, roles), nl=False)


def entry(made: str, user: str, project: str, roles: Sequence[str]) -> str:
    """The entry of the token file for this token."""
    digest = hashlib.sha256(made.encode()).hexdigest()
    facts = {"sha256": digest, "user": user, "project": project, "roles": list(roles)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in facts.items()]
    return "\n".join(["[[token]]", *lines, ""])
