"""``imaged work``."""

from __future__ import annotations

from pathlib import Path

import click

from imaged.cli.options import config_option, json_option


@click.command()
@config_option
@json_option
def work(file: Path | None, *, as_json: bool) -> None:
    """Work on tasks, at the lowest priority, until a signal.

    For machines that do nothing else: a daemon with the role "tasks" has a process for them anyway.
    Any number may run side by side, and beside daemons. --json is log.format = "json".
    """
    from imaged.cli.serve import run_daemon

    run_daemon(file, roles=("tasks",), as_json=as_json)
