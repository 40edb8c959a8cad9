"""Alerts, dashboard and runbooks: they name existing families, and each alert has a runbook."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from references.metrics import all_families
from support.grafana_schema import schema_errors
from support.monitoring import (
    DOCS_URL,
    ROOT,
    RUNBOOKS,
    Alert,
    alerts,
    dashboard,
    expressions,
    families_in,
)

QUESTIONS = RUNBOOKS.with_name("answer-questions-at-night.md")
FAMILIES = {family.name for family in all_families()}
PANELS = dashboard()["panels"]
SECTIONS: dict[str, str] = dict(
    re.findall(r"(?ms)^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(encoding="utf-8"))
)

each_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)


def test_the_alerts_that_operators_expect() -> None:
    """Each watches something that needs an action."""
    assert [alert.name.removeprefix("Imaged") for alert in alerts()] == [
        "NotReady",
        "Absent",
        "ServerErrors",
        "BytesMissing",
        "ChecksumMismatch",
        "StuckSaving",
        "ScrubLag",
        "ScrubStuck",
        "StoreErrors",
        "KeystoneAway",
        "DiskLow",
        "OrphansGrowing",
        "TaskFailures",
        "DutyOverdue",
        "ClaimsTakenBack",
        "ReloadRejected",
        "LoopLag",
        "ProcessesDie",
        "ClockJump",
        "NotificationsWaiting",
        "NoBackup",
    ]


@each_alert
def test_every_alert_has_a_runbook(alert: Alert) -> None:
    """The annotation leads to its section on the published page, which says what happened and what
    to do in steps.
    """
    section = SECTIONS[alert.name]
    page = RUNBOOKS.relative_to(ROOT / "docs").with_suffix(".html")

    assert alert.runbook_url == f"{DOCS_URL}/{page}#{alert.name.lower()}"
    assert "**What has happened.**" in section
    assert "**What it costs.**" in section
    assert re.findall(r"(?m)^(\d)\. ", section)[:3] == ["1", "2", "3"]


def test_every_runbook_has_an_alert() -> None:
    """And nothing is left of those that went; links within the page lead to sections."""
    text = RUNBOOKS.read_text(encoding="utf-8")

    assert SECTIONS.keys() == {alert.name for alert in alerts()}
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= {name.lower() for name in SECTIONS}


@pytest.mark.parametrize("page", [RUNBOOKS, QUESTIONS], ids=lambda page: page.stem)
def test_pages_name_families_that_there_are(page: Path) -> None:
    """Each one can be found."""
    named = families_in(page.read_text(encoding="utf-8"))

    assert named
    assert named <= FAMILIES


def test_families_are_those_that_are_asked_for() -> None:
    """An alert that asks for another never fires, and a panel stays empty; what neither asks for
    need not be there. ``up`` is Prometheus' own.
    """
    texts = [*(alert.text for alert in alerts()), *(text for _, text in expressions())]
    asked = [families_in(text) for text in texts]

    assert all(found or "up{" in text for text, found in zip(texts, asked, strict=True))
    assert frozenset[str]().union(*asked) == FAMILIES


def test_panels_have_a_place_of_their_own() -> None:
    """Ids are there once, and no panel lies on another one or over the edge."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        assert not _overlap(one, other)


def test_the_dashboard_is_valid() -> None:
    """By the schema of Grafana: no field, value, kind of panel or unit is unknown."""
    assert schema_errors(dashboard()) == []


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("titel", "Catalog", "$.panels[1].titel is unknown"),
        ("title", 7, "$.panels[1].title: 7 is not typing.Optional[str]"),
        ("type", "graf", "$.panels[1]: panels of the type 'graf' are unknown"),
        ("gridPos w", "4", "$.panels[1].grid_pos.w: '4' is not <class 'int'>"),
        ("options textMode", "big", "$.panels[1].options.text_mode: 'big' is not <enum"),
        ("fieldConfig defaults unit", "parsec", "the unit 'parsec' is unknown"),
        ("targets 0 expression", "up", "$.panels[1].targets[0].expression is unknown"),
    ],
)
def test_what_grafana_would_ignore_is_found(path: str, value: object, error: str) -> None:
    """Grafana shows a dashboard with mistakes, and an empty panel or another unit in it."""
    wrong = dashboard()
    place = wrong["panels"][1]
    *way, name = path.split()
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[name] = value

    assert any(error in found for found in schema_errors(wrong))


def test_the_dashboard_asks_for_its_prometheus() -> None:
    """Nothing of the place where it was made is in it."""
    sources = {panel["datasource"]["uid"] for panel in PANELS if panel["type"] != "row"}

    assert sources == {"${datasource}"}
    assert [variable["name"] for variable in dashboard()["templating"]["list"]] == [
        "datasource",
        "instance",
    ]


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(
        one[start] < other[start] + other[length] and other[start] < one[start] + one[length]
        for start, length in (("x", "w"), ("y", "h"))
    )
