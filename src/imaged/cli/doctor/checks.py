"""All checks, in order."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from pathlib import Path

from imaged.cli.doctor.addresses import check_addresses
from imaged.cli.doctor.catalog import check_catalog
from imaged.cli.doctor.files import check_files
from imaged.cli.doctor.finding import Finding, ok, problem
from imaged.cli.doctor.host import (
    ClockSample,
    check_clock_jump,
    check_open_files,
    check_time_synchronization,
)
from imaged.cli.doctor.stores import check_store
from imaged.cli.doctor.unit import check_unit
from imaged.config import Config, ConfigInvalid, load
from imaged.core.errors import CatalogError
from imaged.daemon.stores import known_places


async def run_checks(file: Path | None) -> list[Finding]:
    """Run all checks; with wrong settings, only those that need none."""
    began = ClockSample.now()
    findings: list[Finding] = []
    try:
        config = load(file)
    except ConfigInvalid as error:
        findings += [
            problem("configuration", str(one), "Correct it; imaged check-config checks again.")
            for one in error.problems
        ]
    else:
        findings.append(ok("configuration", "Every setting is understood."))
        findings += await _check_configured(file, config)
    findings += [
        check_open_files(),
        check_time_synchronization(),
        check_clock_jump(began, ClockSample.now()),
    ]
    return findings


async def _check_stores(config: Config) -> list[Finding]:
    async with AsyncExitStack() as opened:
        places = None
        with suppress(CatalogError):  # check_catalog says why
            places = await opened.enter_async_context(known_places(config))
        return [
            finding
            for name, section in config.stores.by_name.items()
            async for finding in check_store(name, section, places)
        ]


async def _check_configured(file: Path | None, config: Config) -> list[Finding]:
    findings = list(check_files(file, config))
    findings += await _check_stores(config)
    findings += [finding async for finding in check_catalog(config)]
    findings += check_unit(config)
    findings += [finding async for finding in check_addresses(config)]
    return findings
