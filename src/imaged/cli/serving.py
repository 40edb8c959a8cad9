"""``imaged serve``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli.options import config_option

if TYPE_CHECKING:
    from imaged.config.sections import Role


@click.command()
@config_option
def serve(file: Path | None) -> None:
    """Answer requests and do the daemon's duties.

    SIGTERM drains: no new work, and daemon.drain_timeout for what is in flight; a second one ends
    that too. SIGHUP reads the configuration again.
    """
    run_daemon(file)


def run_daemon(file: Path | None, roles: Sequence[Role] | None = None) -> None:
    """Work until a signal ends it; with these roles, or those that are configured."""
    import anyio

    from imaged.allocation import tune_allocation
    from imaged.config import Config, load
    from imaged.daemon.process import Daemon
    from imaged.supervision import Supervision
    from imaged.telemetry import configure_log

    def read_config() -> Config:
        config = load(file)
        return config if roles is None else config.with_roles(roles)

    config = read_config()
    configure_log(config.log.level, config.log.format)
    tune_allocation()
    daemon = Daemon(config, read_config, Supervision())
    anyio.run(daemon.run, backend="asyncio", backend_options={"use_uvloop": True})
