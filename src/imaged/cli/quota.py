"""``imaged quota``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli.options import config_option, json_option, verbose_option
from imaged.cli.output import print_json
from imaged.units import approximate_size, parse_size

if TYPE_CHECKING:
    from imaged.config import Config
    from imaged.core.ledger import Account
    from imaged.ports.image_catalog import AccountCatalog

NO_LIMIT = "none"


class Limit(click.ParamType[int | str]):
    """A size, or none."""

    name = "size"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Return the size in bytes, or NO_LIMIT."""
        if value == NO_LIMIT:
            return value
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(f"{error}, or {NO_LIMIT}", param, ctx)


@click.command()
@click.argument("project")
@click.option("--limit", metavar="SIZE|none", type=Limit(), help="Set it, such as 500GiB.")
@config_option
@verbose_option
@json_option
def quota(project: str, limit: int | str | None, file: Path | None, *, as_json: bool) -> None:
    """Show how many bytes a project holds and may hold, or set it.

    Bytes count from the beginning of their upload until they are deleted, or can no longer be
    restored. A limit below the used bytes deletes nothing; it refuses new bytes.
    """
    from imaged.cli.context import run_with_catalog

    async def show_or_set(catalog: AccountCatalog, _: Config) -> Account:
        if limit is None:
            return await catalog.get_account(project)
        return await catalog.set_limit(project, limit if isinstance(limit, int) else None)

    account = run_with_catalog(file, show_or_set)
    if as_json:
        print_json(
            {
                "project": project,
                "used_bytes": account.used_bytes,
                "limit_bytes": account.limit_bytes,
            }
        )
        return
    allowed = "no limit" if account.limit_bytes is None else approximate_size(account.limit_bytes)
    click.echo(f"{project}: {approximate_size(account.used_bytes)} used of {allowed}.")
