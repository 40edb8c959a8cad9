"""``imaged check-config``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import config_option, json_option
from imaged.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imaged.config import Config, Problem


@click.command()
@config_option
@json_option
def check_config(file: Path | None, *, as_json: bool) -> int:
    """Report all mistakes in the configuration, and in the files and services that it names.

    It opens catalog, stores and the token file too. Run it as the daemon's user. Exit code 0: no
    problems, perhaps hints about needs of some tasks; 1: problems.
    """
    from imaged.config import ConfigInvalid, load

    problems: Sequence[Problem]
    hints: Sequence[str] = ()
    try:
        problems, hints = _check_backends(load(file))
    except ConfigInvalid as error:
        problems = error.problems
    if as_json:
        print_json({"problems": [asdict(problem) for problem in problems], "hints": hints})
    for line in () if as_json else (*problems, *(f"hint: {hint}" for hint in hints)):
        click.echo(str(line), err=True)
    if not problems and not as_json:
        click.echo("The configuration is good; catalog and stores can be used.")
    return EXIT_PROBLEMS if problems else 0


def _check_backends(config: Config) -> tuple[list[Problem], list[str]]:
    import anyio

    from imaged.daemon.preflight import find_hints, find_problems
    from imaged.telemetry import configure_log

    configure_log("error")
    hints = find_hints(config)
    problems = anyio.run(find_problems, config, lambda lack: hints.append(str(lack)))
    return problems, hints
