"""``imaged serve`` and ``imaged work``: daemons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli.options import config_option, json_option
from imaged.cli.output import status_of, tells_failed_start

if TYPE_CHECKING:
    from imaged.config.sections import Role

#: The roles of services that have less than ``imaged serve``, whatever the configuration says.
COMMAND_ROLES: Mapping[str, Sequence[Role]] = {"scrub": ("scrubber",), "work": ("tasks",)}


@click.command()
@config_option
@json_option
@tells_failed_start
def serve(file: Path | None, *, as_json: bool) -> None:
    """Answer requests and run the background jobs.

    SIGTERM drains: no new work, and daemon.drain_timeout for transfers in flight; a second SIGTERM
    ends those. SIGHUP reloads the configuration. --json is log.format = "json".
    """
    run_daemon(file, as_json=as_json)


@click.command()
@config_option
@json_option
@tells_failed_start
def work(file: Path | None, *, as_json: bool) -> None:
    """Work on tasks, at the lowest priority, until a signal.

    For machines that do nothing else: a daemon with the role "tasks" has a process for them anyway.
    Any number may run side by side, and beside daemons. --json is log.format = "json".
    """
    run_daemon(file, roles=COMMAND_ROLES["work"], as_json=as_json)


def run_daemon(
    file: Path | None, roles: Sequence[Role] | None = None, *, as_json: bool = False
) -> None:
    """Run a daemon until a signal, with these roles or the configured ones."""
    from imaged.lean_imports import lean_imports

    with lean_imports():
        import faulthandler

        import anyio

        from imaged.config import Config, ConfigInvalid, find_sources, load
        from imaged.core.errors import ImagedError
        from imaged.daemon.daemon import Daemon
        from imaged.daemon.preflight import find_file_problems
        from imaged.daemon.processes.forks import prepare_forks
        from imaged.daemon.systemd import SystemdNotifier
        from imaged.process import hand_over_quickly, tune_malloc
        from imaged.server.listeners import ActivatedSockets
        from imaged.telemetry import configure_log

    def read_config() -> Config:
        config = load(file).with_json_log() if as_json else load(file)
        config = config if roles is None else config.with_roles(roles)
        if problems := list(find_file_problems(config)):
            sources = find_sources(file)
            raise ConfigInvalid([sources.locate(one) for one in problems])
        return config

    notifier, activated = SystemdNotifier(), ActivatedSockets()
    try:
        config = read_config()
        configure_log(config.log.level, config.log.format)
        tune_malloc()
        hand_over_quickly()
        faulthandler.enable()  # the stacks of threads when the watchdog ends a hang
        forks = prepare_forks(config)
        daemon = Daemon(config, read_config, notifier, activated, forks)
        anyio.run(daemon.run, backend="asyncio", backend_options={"use_uvloop": True})
    except (ConfigInvalid, ImagedError) as error:
        notifier.status(status_of(error))  # systemctl status shows it after the end too
        raise
