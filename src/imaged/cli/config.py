"""``imaged config``: the effective settings, and where each comes from."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaged.cli.options import config_option, json_option
from imaged.cli.output import print_json
from imaged.cli.serve import COMMAND_ROLES

if TYPE_CHECKING:
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
