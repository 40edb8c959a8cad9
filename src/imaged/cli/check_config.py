"""``imaged check-config``."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import config_option, configure_command_log, json_option, verbose_option
from imaged.cli.output import print_json, print_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imaged.config import Config, Problem


@click.command()
@config_option
@verbose_option
@click.option(
    "--settings-only",
    is_flag=True,
    help="Check what a reload reads: settings and token files. No catalog or store is opened.",
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
    from imaged.daemon.preflight import find_token_problems

    return list(find_token_problems(config)), []


def _check_backends(config: Config) -> tuple[list[Problem], list[str]]:
    import anyio

    from imaged.daemon.preflight import find_hints, find_problems

    configure_command_log()
    hints = find_hints(config)
    problems = anyio.run(find_problems, config, lambda lack: hints.append(str(lack)))
    return problems, hints
