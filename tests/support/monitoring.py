"""What is shipped for Prometheus and Grafana, as tests read it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
DOCS_URL = "https://docs.example.org/imaged"  # to be replaced, docs/how-to/monitor.md
ALERTS = ROOT / "monitoring/alerts.yml"
DASHBOARD = ROOT / "monitoring/dashboard.json"
RUNBOOKS = ROOT / "docs/how-to/runbooks.md"

FAMILY = re.compile(r"\b(?:imaged|process)_[a-z_]+")
SUFFIXES = ("_bucket", "_sum", "_count", "_total")


class Alert(NamedTuple):
    """A rule, as far as it is looked at: its text under its name."""

    name: str
    text: str

    @property
    def runbook_url(self) -> str:
        """Where the annotation leads."""
        (target,) = re.findall(r"(?m)^ +runbook_url: (\S+)$", self.text)
        return str(target)


def alerts() -> list[Alert]:
    """Every rule; `promtool` reads the file as YAML, tests/system."""
    _, *parts = re.split(r"(?m)^ +- alert: ", ALERTS.read_text(encoding="utf-8"))
    return [Alert(*part.split("\n", 1)) for part in parts]


def dashboard() -> Any:
    """The dashboard."""
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def expressions() -> Iterator[tuple[str, str]]:
    """Every question that a panel asks: the panel's title, and the expression."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def families_in(text: str) -> set[str]:
    """The families that an expression or a rule names."""
    return {_without_suffix(name) for name in FAMILY.findall(text)}


def _without_suffix(name: str) -> str:
    suffix = next((end for end in SUFFIXES if name.endswith(end)), "")
    return name.removesuffix(suffix)
