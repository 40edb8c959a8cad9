"""``imaged doctor``: checks of everything that a daemon needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli.options import config_option, configure_command_log, json_option, verbose_option
from imaged.cli.output import print_json, print_sentence

if TYPE_CHECKING:
    from imaged.config import Config, Sources


INDENT = 9  # characters: the level, before each finding
LEVEL_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


class Level(IntEnum):
    """The level of a finding; the highest one is the exit code."""

    OK = 0
    WARNING = 1
    PROBLEM = 2

    @property
    def word(self) -> str:
        """The printed word."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``remedy`` is "" if there is nothing to do."""

    level: Level
    subject: str  # the checked part, such as "store local"
    what: str
    remedy: str = ""


def ok(subject: str, what: str) -> Finding:
    """A finding without fault."""
    return Finding(Level.OK, subject, what)


def warning(subject: str, what: str, remedy: str) -> Finding:
    """A fault that does not keep a daemon from working yet."""
    return Finding(Level.WARNING, subject, what, remedy)


def problem(subject: str, what: str, remedy: str) -> Finding:
    """A fault that keeps a daemon from working, or is a security hole."""
    return Finding(Level.PROBLEM, subject, what, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """The highest level of all."""
    return max((finding.level for finding in findings), default=Level.OK)


@click.command()
@config_option
@verbose_option
@json_option
def doctor(file: Path | None, *, as_json: bool) -> int:
    """Check everything that a daemon needs, and say what to do.

    Settings and their permissions, secrets, stores (with a test upload), free space, catalog,
    clocks, leases, limits, systemd's unit, addresses. Root checks as the user that owns the
    stores.

    Exit code 0: no findings; 1: warnings; 2: problems.
    """
    import anyio

    configure_command_log()
    findings = anyio.run(run_checks, file)
    if as_json:
        print_json({"findings": [_facts(finding) for finding in findings]})
    else:
        _print(findings)
    return int(worst(findings))


async def run_checks(file: Path | None) -> list[Finding]:
    """Run all checks; with wrong settings, only those that need none."""
    from imaged.cli.doctor.host import (
        ClockSample,
        check_clock_jump,
        check_open_files,
        check_time_synchronization,
    )
    from imaged.config import ConfigInvalid, find_sources, load

    sources = find_sources(file)
    began = ClockSample.now()
    findings: list[Finding] = []
    try:
        config = load(file)
    except ConfigInvalid as error:
        findings += [
            problem("configuration", str(one), "Correct it; imaged check-config checks again.")
            for one in error.problems
        ]
        findings.append(ok("configuration", str(sources)))
    else:
        findings.append(check_sources(sources))
        findings += await _check_configured(file, config)
    findings += [
        check_open_files(),
        check_time_synchronization(),
        check_clock_jump(began, ClockSample.now()),
    ]
    return findings


def check_sources(sources: Sources) -> Finding:
    """Check that a valid configuration comes from anywhere, or that defaults are meant."""
    what = f"Every setting is understood. {sources}"
    if sources.missing and not sources.files and not sources.variables:
        return warning(
            "configuration", what, "Name your daemon's by --config, or run `make install-system`."
        )
    return ok("configuration", what)


async def _check_configured(file: Path | None, config: Config) -> list[Finding]:
    from imaged.cli.doctor.addresses import check_addresses
    from imaged.cli.doctor.catalog import check_catalog
    from imaged.cli.doctor.files import become_daemon_user, check_backups, check_files
    from imaged.cli.doctor.host import check_unit
    from imaged.cli.doctor.keystone import check_keystone
    from imaged.cli.doctor.receiver import check_receiver

    user = become_daemon_user(config)
    findings = [ok("user", f"It checks as {user}, the owner of the stores.")] if user else []
    findings += check_files(file, config)
    findings += await _check_stores(config)
    findings += [finding async for finding in check_catalog(config)]
    findings += check_backups(config)
    findings += [finding async for finding in check_keystone(config)]
    findings += [finding async for finding in check_receiver(config)]
    findings += check_unit(config)
    findings += [finding async for finding in check_addresses(config)]
    return findings


async def _check_stores(config: Config) -> list[Finding]:
    from imaged.cli.doctor.stores import check_store
    from imaged.core.errors import CatalogError
    from imaged.daemon.places import known_places

    async with AsyncExitStack() as opened:
        places = None
        with suppress(CatalogError):  # check_catalog says why
            places = await opened.enter_async_context(known_places(config))
        return [
            finding
            for name, section in config.stores.by_name.items()
            async for finding in check_store(name, section, places)
        ]


def _facts(finding: Finding) -> dict[str, str | None]:
    return {
        "level": finding.level.word,
        "subject": finding.subject,
        "what": finding.what,
        "remedy": finding.remedy or None,
    }


def _print(findings: Sequence[Finding]) -> None:
    for finding in findings:
        word = click.style(f"{finding.level.word:8}", fg=LEVEL_COLOURS[finding.level.word])
        click.echo(f"{word} ", nl=False)
        print_sentence(f"{finding.subject}: {finding.what}", indent=INDENT)
        if finding.remedy:
            click.echo(" " * INDENT, nl=False)
            print_sentence(f"→ {finding.remedy}", indent=INDENT)
    problems, warnings = (
        sum(finding.level.word == word for finding in findings) for word in ("problem", "warning")
    )
    click.echo(f"Checks: {len(findings)}. Problems: {problems}. Warnings: {warnings}.")
