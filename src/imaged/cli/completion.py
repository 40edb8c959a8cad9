"""``imaged completion``, and the completion of values."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from imaged import DEFAULT_CONFIG_FILE
from imaged.cli.options import json_option
from imaged.cli.output import print_json

COMPLETION_VARIABLE = "_IMAGED_COMPLETE"  # the script sets it when it calls the command
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def completion(shell: str, *, as_json: bool) -> None:
    """Print the script that makes SHELL complete imaged's commands and options.

    For bash: `source <(imaged completion bash)`; `make install-system` installs it for all users.
    """
    script = script_for(shell)
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)


def script_for(shell: str) -> str:
    """The script; it calls the command for completions. Raises LookupError."""
    from click.shell_completion import ShellComplete, get_completion_class

    from imaged.cli import imaged

    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    # Not the class's own source(): that of bash runs the installed bash.
    return ShellComplete.source(kind(imaged, {}, "imaged", COMPLETION_VARIABLE)).strip()


def complete_from(
    names: Sequence[str],
) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Complete these names, where others are possible too."""

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
        return [name for name in names if name.startswith(begun)]

    return complete


def complete_store(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The names of the configured stores, from TOML alone: validation would be slow."""
    del parameter
    file = context.params.get("file") or DEFAULT_CONFIG_FILE
    names = dict.fromkeys(
        name
        for path in [file, *sorted(file.parent.glob("conf.d/*.toml"))]
        for name in _stores(path)
    )
    return [name for name in names if name.startswith(begun)]


def _stores(path: Path) -> list[str]:
    try:
        stores = tomllib.loads(path.read_text("utf-8")).get("stores", {})
    except (OSError, ValueError):  # completion cannot report errors
        return []
    return [name for name, table in stores.items() if isinstance(table, dict)]
