"""``imaged config`` and ``imaged check-config``: the settings, and the mistakes in them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import config_option, configure_command_log, json_option, verbose_option
from imaged.cli.output import print_json, print_sentence
from imaged.cli.serve import COMMAND_ROLES

if TYPE_CHECKING:
    from imaged.config import Config, Problem
    from imaged.config.effective import EffectiveSetting
    from imaged.config.layers import Layer

MAX_COLUMN = 44  # where sources begin, in characters


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--no-defaults", is_flag=True, help="Only settings that have another source.")
@click.option(
    "--command",
    "service",
    type=click.Choice(["serve", *COMMAND_ROLES]),
    default="serve",
    show_default=True,
    help="The service that would read them.",
)
@config_option
@json_option
def config(
    names: tuple[str, ...], *, no_defaults: bool, service: str, file: Path | None, as_json: bool
) -> None:
    """Print the effective settings, and where each comes from.

    NAME is a setting, a section, a table or a key: scrubber.delay, scrubber, stores.local, delay.
    The output is a settings file, with the sources in comments and without secrets. It is what a
    start or a reload would read now; a running daemon keeps what it has read until then.
    """
    from imaged.config import find_sources, load
    from imaged.config.effective import effective_settings

    found, sources = load(file), find_sources(file)
    everything = list(effective_settings(found, [*sources.layers, *_command_line(service)]))
    settings = _chosen(everything, names)
    if no_defaults:
        settings = [one for one in settings if one.source != "default"]
    if as_json:
        facts = {"files": sources.files, "variables": sources.variables}
        print_json({**facts, "settings": [_facts(one) for one in settings]})
        return
    click.echo(f"# {sources}")
    for line in config_lines(settings, _width()):
        click.echo(line)


def config_lines(settings: Sequence[EffectiveSetting], width: int | None) -> Iterator[str]:
    """The settings as TOML. ``width``: in characters; a source for which a line has no room is in
    the line before. None: no limit.
    """
    for table, members in groupby(settings, key=lambda one: one.path[:-1]):
        yield ""
        yield f"[{'.'.join(table)}]"
        drawn = [(_assignment(one), f"# {_source(one)}", one) for one in members]
        column = min(MAX_COLUMN, max(len(text) for text, *_ in drawn))
        for text, source, one in drawn:
            line = f"{text:<{column}}  {source}"
            lines = [line] if width is None or len(line) <= width else [source, text]
            yield from (click.style(each, dim=one.source == "default") for each in lines)


def _command_line(service: str) -> Iterator[Layer]:
    from imaged.config.layers import COMMAND_LINE, Layer

    if service in COMMAND_ROLES:
        roles = {"daemon": {"roles": list(COMMAND_ROLES[service])}}
        yield Layer(COMMAND_LINE, roles, f"imaged {service}")


def _chosen(settings: list[EffectiveSetting], names: Sequence[str]) -> list[EffectiveSetting]:
    """The settings with these names; all without a name. Raises UsageError for an unknown one."""
    from imaged.config.effective import similar_names

    for name in names:
        if not any(one.matches(name) for one in settings):
            similar = similar_names(name, settings)
            remedy = f" Did you mean {' or '.join(similar)}?" if similar else ""
            raise click.UsageError(f"No setting, section or table has the name {name}.{remedy}")
    return [one for one in settings if not names or any(map(one.matches, names))]


def _facts(one: EffectiveSetting) -> dict[str, Any]:
    return {
        "name": one.name,
        "value": one.value,
        "default": one.default,
        "source": one.source,
        "place": one.place,
        "overridden": list(one.overridden),
        "hidden": one.hidden or None,
        "reloadable": one.is_reloadable,
    }


def _assignment(one: EffectiveSetting) -> str:
    """The setting as TOML; a comment if its value is not shown."""
    from imaged.telemetry.sanitize import visible

    if one.value is None:
        return f"# {one.path[-1]} is set"
    return f"{one.path[-1]} = {visible(json.dumps(one.value, ensure_ascii=False))}"


def _source(one: EffectiveSetting) -> str:
    parts = [one.place, *(f"overrides {place}" for place in one.overridden)]
    return ", ".join([*parts, one.hidden] if one.hidden else parts)


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@click.command()
@config_option
@verbose_option
@click.option(
    "--settings-only",
    is_flag=True,
    help="Check what a reload reads: settings, tokens, certificates. It opens no catalog or store.",
)
@json_option
def check_config(file: Path | None, *, settings_only: bool, as_json: bool) -> int:
    """Report all mistakes in the configuration, and in the files and services that it names.

    It opens catalog, stores and the token file too. Run it as the daemon's user. Exit code 0: no
    problems, perhaps hints about needs of some tasks; 1: problems.
    """
    from imaged.config import ConfigInvalid, find_sources, load
    from imaged.config.secrets import may_be_hidden

    sources = find_sources(file)
    problems: Sequence[Problem]
    hints: Sequence[str] = ()
    try:
        config = load(file)
        problems, hints = _check_files(config) if settings_only else _check_backends(config)
    except ConfigInvalid as error:
        problems = error.problems
        if settings_only:  # the daemon sees more of what systemd passes to it
            problems = [one for one in problems if not may_be_hidden(one, os.environ)]
    problems = [sources.locate(one) for one in problems]
    if as_json:
        facts = {"problems": [asdict(one) for one in problems], "hints": hints}
        print_json({**facts, "files": sources.files, "variables": sources.variables})
    elif not log_in_journal(problems):
        for line in (*problems, *(f"hint: {hint}" for hint in hints)):
            print_sentence(str(line), err=True)
    if not problems and not as_json:
        used = "" if settings_only else "; catalog and stores can be used"
        print_sentence(f"The configuration is good{used}.")
    if not as_json:
        print_sentence(str(sources))
    return EXIT_PROBLEMS if problems else 0


def log_in_journal(problems: Sequence[Problem]) -> bool:
    """Log each problem, if standard error is connected to the journal: before a reload, it is."""
    from imaged.telemetry import configure_log
    from imaged.telemetry.log import is_journal

    if not is_journal(sys.stderr):
        return False
    import structlog

    configure_log("info", "journal")
    log = structlog.get_logger()
    for problem in problems:
        log.error("config.rejected", why=str(problem))
    return True


def _check_files(config: Config) -> tuple[list[Problem], list[str]]:
    from imaged.daemon.preflight import find_file_problems

    return list(find_file_problems(config)), []


def _check_backends(config: Config) -> tuple[list[Problem], list[str]]:
    import anyio

    from imaged.daemon.preflight import find_hints, find_problems

    configure_command_log()
    hints = find_hints(config)
    problems = anyio.run(find_problems, config, lambda lack: hints.append(str(lack)))
    return problems, hints
