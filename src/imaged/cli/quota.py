"""``imaged quota``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imaged.cli.options import config_option, json_option, no_trunc_option, verbose_option
from imaged.cli.output import print_failure, print_json, print_sentence
from imaged.cli.tables import print_table
from imaged.units import (
    UNLIMITED,
    approximate_size,
    approximate_sizes,
    parse_count_limit,
    parse_size_limit,
    pluralize,
)

if TYPE_CHECKING:
    from imaged.catalogs.sql_catalog import SqlCatalog
    from imaged.config import Config
    from imaged.core.quota import Account, Limits, Resource
    from imaged.ports.project_limits import ProjectLimits

F = TypeVar("F", bound=Callable[..., Any])
Quota = tuple["Account", "Limits"]  # and the limits that hold

DEFAULT = "default"
SET_IN_KEYSTONE = (
    "The limits of projects are set in Keystone (quotas.source), and sizes in MiB there, such as: "
    "openstack limit create --service image --project {project} --resource-limit 1000 {name}"
)
PAGE_LENGTH = 500  # accounts read at once


class Limit(click.ParamType[int | str]):
    """A limit: a size or a number, ``unlimited``, or ``default``."""

    name = "limit"

    def __init__(self, parse: Callable[[object], int | None]) -> None:
        self._parse = parse

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Return the limit, UNLIMITED or DEFAULT."""
        if value == DEFAULT:
            return DEFAULT
        try:
            limit = self._parse(value)
        except ValueError as error:
            self.fail(f'{error}, or "{DEFAULT}"', param, ctx)
        return UNLIMITED if limit is None else limit


def _size_option(name: str, what: str) -> Callable[[F], F]:
    metavar = f"SIZE|{UNLIMITED}|{DEFAULT}"
    return click.option(f"--{name}", metavar=metavar, type=Limit(parse_size_limit), help=what)


def _count_option(name: str, what: str) -> Callable[[F], F]:
    metavar = f"N|{UNLIMITED}|{DEFAULT}"
    return click.option(f"--{name}", metavar=metavar, type=Limit(parse_count_limit), help=what)


@click.command()
@click.argument("project", required=False)
@_size_option("total", "Limit the bytes that it stores or stages, such as 500GiB.")
@_size_option("staged", "Limit the bytes that it stages.")
@_count_option("images", "Limit the number of its images.")
@_count_option("uploads", "Limit the number of its unfinished uploads and imports.")
@click.option("--full", is_flag=True, help="List the projects that have reached a limit.")
@config_option
@no_trunc_option
@verbose_option
@json_option
def quota(
    project: str | None,
    file: Path | None,
    *,
    full: bool,
    no_trunc: bool,
    as_json: bool,
    **limits: int | str | None,
) -> None:
    """Show what a project uses and may use, or set its limits; without PROJECT, list all projects.

    "default" removes a limit of the project, so that the one in [quotas] holds again. A limit below
    the usage deletes nothing; it refuses what is new.
    """
    asked = {name: limit for name, limit in limits.items() if limit is not None}
    if project is None:
        if asked:
            raise click.UsageError("Name the project whose limits are to be set.")
        _print_list(_read_all(file), only_full=full, as_json=as_json, is_folded=not no_trunc)
    elif full:
        raise click.UsageError("--full lists projects: do not name one.")
    else:
        (account, held), source, doubt = _show_or_set(file, project, asked)
        if as_json:
            print_json(_facts(account, held))
        else:
            _print_one(account, held, source, is_folded=not no_trunc)
        if doubt:
            print_failure(doubt)


def _show_or_set(
    file: Path | None, project: str, asked: Mapping[str, int | str]
) -> tuple[Quota, str, str]:
    """The quota of a project, ``quotas.source``, and why the limits may be others."""
    from imaged.cli.context import run_with_catalog
    from imaged.core.quota import UNIFIED_LIMIT_NAMES, Resource
    from imaged.services.project_usage import ProjectUsage

    own = {
        Resource(name): None if isinstance(limit, str) else limit
        for name, limit in asked.items()
        if limit != DEFAULT
    }
    reset = [Resource(name) for name, limit in asked.items() if limit == DEFAULT]

    async def show_or_set(catalog: SqlCatalog, config: Config) -> tuple[Quota, str, str]:
        if asked and config.quotas.source == "keystone":
            name = UNIFIED_LIMIT_NAMES[Resource(next(iter(asked)))]
            raise click.UsageError(SET_IN_KEYSTONE.format(project=project, name=name))
        if asked:
            await catalog.set_limits(project, own, reset)
        quota = await ProjectUsage(catalog, catalog.limits).read(project)
        return quota, config.quotas.source, _doubt(catalog.limits, config)

    return run_with_catalog(file, show_or_set)


def _doubt(limits: ProjectLimits, config: Config) -> str:
    if config.quotas.source == "config":
        return ""
    from imaged.keystone.limits import UnifiedLimits

    failure = limits.failure if isinstance(limits, UnifiedLimits) else None
    return "" if failure is None else f"{failure} The limits are those of [quotas] until then."


def _read_all(file: Path | None) -> Sequence[Quota]:
    from imaged.cli.context import run_with_catalog
    from imaged.services.project_usage import ProjectUsage

    async def read_all(catalog: SqlCatalog, _: Config) -> list[Quota]:
        usage, found = ProjectUsage(catalog, catalog.limits), list[Quota]()
        after: str | None = None
        while page := await catalog.list_accounts(after, PAGE_LENGTH):
            found += [(account, await usage.limits_of(account)) for account in page]
            after = page[-1].owner
        return found

    return run_with_catalog(file, read_all)


def _print_list(
    quotas: Sequence[Quota], *, only_full: bool, as_json: bool, is_folded: bool
) -> None:
    from imaged.core.quota import Resource, full_resources

    listed = [one for one in quotas if full_resources(*one)] if only_full else quotas
    if as_json:
        print_json({"projects": [_facts(*one) for one in listed]})
        return
    rows = [
        (account.owner, *(_used_of(name, account, limits) for name in Resource))
        for account, limits in listed
    ]
    which = " at a limit" if only_full else ""
    title = f"{pluralize(len(rows), 'project')}{which}"
    print_table(title, ("project", *Resource), rows, is_folded=is_folded)


def _print_one(account: Account, limits: Limits, source: str, *, is_folded: bool) -> None:
    from imaged.core.quota import Resource

    rows = [
        (
            name,
            _text(name, account.usage[name]),
            _text(name, limits[name]),
            "Keystone" if source == "keystone" else _whose_limit(account, name),
        )
        for name in Resource
    ]
    columns = ("resource", "used", "limit", "is a limit of")
    print_table(account.owner, columns, rows, is_folded=is_folded)
    if account.is_unused:
        print_sentence(
            f"The project {account.owner!r} has nothing here, and no limits of its own. Is the "
            "name right? All projects: imaged quota"
        )


def _whose_limit(account: Account, name: Resource) -> str:
    return "the project" if name in account.limits else "the default"


def _used_of(name: Resource, account: Account, limits: Limits) -> str:
    from imaged.core.quota import SIZES

    used, limit = account.usage[name], limits[name]
    if limit is None:
        return _text(name, used)
    return approximate_sizes(used, limit) if name in SIZES else f"{used} of {limit}"


def _text(name: Resource, number: int | None) -> str:
    from imaged.core.quota import SIZES

    if number is None:
        return UNLIMITED
    return approximate_size(number) if name in SIZES else str(number)


def _facts(account: Account, limits: Limits) -> dict[str, object]:
    return {
        "project": account.owner,
        "usage": dict(account.usage),
        "limits": {name: UNLIMITED if limit is None else limit for name, limit in limits.items()},
        "own_limits": sorted(account.limits),
    }
