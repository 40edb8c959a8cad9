"""Metrics, alerts and dashboard, as Prometheus itself judges them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.command import Workspace, serving
from support.monitoring import ALERTS, Alert, alerts, expressions
from support.page_claims import typed_in
from support.page_examples import ROOT

CASES = Path(__file__).with_name("alerts.test.yml")

pytestmark = pytest.mark.system


def promtool(*arguments: str, page: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Ask promtool, of Debian's package prometheus."""
    assert shutil.which("promtool"), "apt-get install prometheus"
    return subprocess.run(
        ["promtool", *arguments],
        cwd=ROOT,
        input=page,
        capture_output=True,
        check=False,
        timeout=60,
    )


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """All that it said."""
    return (done.stdout + done.stderr).decode()


def test_the_page_is_clean(tmp_path: Path) -> None:
    """Names, units, types and helps are as Prometheus wants them, after some work too."""
    place = Workspace(tmp_path)
    token = "a-token-for-prometheus"
    (tmp_path / "token").write_text(token)
    more = f'[metrics]\nbind = ["api"]\ntoken_file = "{tmp_path / "token"}"'
    with serving(place.write(more)) as daemon:
        daemon.ask("/v2/images")
        daemon.ask("/v2/images/none")
        status, page = daemon.ask("/metrics", Authorization=f"Bearer {token}")

    done = promtool("check", "metrics", page=page)

    assert status == 200
    assert (done.returncode, said(done)) == (0, "")


def test_the_alerts_are_well_formed() -> None:
    """Every expression and every template; operators check them as the page says."""
    (block,) = typed_in("tests/system/test_monitoring.py", "docs/how-to/monitor.md")
    (step,) = block.steps
    assert ROOT / step.command.split()[-1] == ALERTS

    done = promtool(*step.command.removeprefix("$ promtool ").split())

    assert done.returncode == 0, said(done)
    assert f"{len(alerts())} rules found" in said(done)


def test_alerts_fire_when_they_should_and_only_then() -> None:
    """Each has cases of both kinds."""
    done = promtool("test", "rules", str(CASES))

    assert done.returncode == 0, said(done)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_each_alert_has_cases(alert: Alert) -> None:
    """One in which it fires, and one in which it does not."""
    name = re.escape(alert.name)
    text = re.sub(r"\n +exp_alerts", " exp_alerts", CASES.read_text(encoding="utf-8"))
    silent = re.findall(rf"alertname: {name},? +exp_alerts: \[\]", text)
    firing = re.findall(rf"alertname: {name},? +exp_alerts:(?: &\w+)?$", text, re.MULTILINE)

    assert silent
    assert firing


def test_every_panel_asks_a_question_that_can_be_answered(tmp_path: Path) -> None:
    """Each expression parses, with the dashboard's variables filled in."""
    rules = ["groups:", "  - name: panels", "    rules:"]
    for number, (_, expression) in enumerate(expressions()):
        question = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
        rules += [f"      - record: panel:{number}", f"        expr: '{question}'"]
    file = tmp_path / "panels.yml"
    file.write_text("\n".join(rules))

    done = promtool("check", "rules", str(file))

    assert done.returncode == 0, said(done)
    assert f"{len(list(expressions()))} rules found" in said(done)
