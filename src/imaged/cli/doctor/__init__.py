"""``imaged doctor``: checks of everything that a daemon needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli.options import config_option, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imaged.cli.doctor.finding import Finding

LEVEL_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command()
@config_option
@json_option
def doctor(file: Path | None, *, as_json: bool) -> int:
    """Check everything that a daemon needs, and say what to do.

    Settings and their permissions, secrets, stores (with a test upload), free space, catalog,
    clocks, leases, limits, systemd's unit, addresses. Run it as the daemon's user:
    sudo -u imaged imaged doctor.

    Exit code 0: no findings; 1: warnings; 2: problems.
    """
    import anyio

    from imaged.cli.doctor.checks import run_checks
    from imaged.cli.doctor.finding import worst
    from imaged.telemetry import configure_log

    configure_log("error")
    findings = anyio.run(run_checks, file)
    if as_json:
        print_json({"findings": [_facts(finding) for finding in findings]})
    else:
        _print(findings)
    return int(worst(findings))


def _facts(finding: Finding) -> dict[str, str | None]:
    return {
        "level": finding.level.word,
        "subject": finding.subject,
        "what": finding.what,
        "remedy": finding.remedy or None,
    }


def _print(findings: Sequence[Finding]) -> None:
    for finding in findings:
        word = click.style(f"{finding.level.word:8}", fg=LEVEL_COLOURS[finding.level.word])
        click.echo(f"{word} {finding.subject}: {finding.what}")
        if finding.remedy:
            click.echo(f"{'':9}→ {finding.remedy}")
    problems, warnings = (
        sum(finding.level.word == word for finding in findings) for word in ("problem", "warning")
    )
    click.echo(f"Checks: {len(findings)}. Problems: {problems}. Warnings: {warnings}.")
