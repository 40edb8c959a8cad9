"""The order in which everything is looked at."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from pathlib import Path

from imaged.cli.doctor.facts import examine_catalog
from imaged.cli.doctor.files import examine_files
from imaged.cli.doctor.finding import Finding, ok, problem
from imaged.cli.doctor.listening import examine_addresses
from imaged.cli.doctor.machine import (
    Moment,
    examine_open_files,
    examine_synchronization,
    find_jump,
)
from imaged.cli.doctor.places import examine_store
from imaged.cli.doctor.unit import examine_unit
from imaged.config import Config, ConfigInvalid, load
from imaged.core.errors import CatalogError
from imaged.daemon.places import known_places


async def examine(file: Path | None) -> list[Finding]:
    """All of it. What is wrong with the settings hides what they name, and nothing else."""
    began = Moment.now()
    findings: list[Finding] = []
    try:
        config = load(file)
    except ConfigInvalid as error:
        findings += [
            problem("configuration", str(one), "imaged check-config tells when it is right.")
            for one in error.problems
        ]
    else:
        findings.append(ok("configuration", "Every setting is understood."))
        findings += await _examine_config(file, config)
    findings += [examine_open_files(), examine_synchronization(), find_jump(began, Moment.now())]
    return findings


async def _examine_stores(config: Config) -> list[Finding]:
    async with AsyncExitStack() as opened:
        places = None
        with suppress(CatalogError):  # examine_catalog says why
            places = await opened.enter_async_context(known_places(config))
        return [
            finding
            for name, section in config.stores.by_name.items()
            async for finding in examine_store(name, section, places)
        ]


async def _examine_config(file: Path | None, config: Config) -> list[Finding]:
    findings = list(examine_files(file, config))
    findings += await _examine_stores(config)
    findings += [finding async for finding in examine_catalog(config)]
    findings += examine_unit(config)
    findings += [finding async for finding in examine_addresses(config)]
    return findings
