"""Future releases for the contract: their steps, to be applied beside the current ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from imaged.catalogs import migrations
from imaged.catalogs.migrations import Step, StepKind

MODULE = '''\
"""A step of a later release."""

from alembic import op
from sqlalchemy import Column, String, text

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    """Do what this step does."""
    {deed}
'''

#: The next release renames a column in two halves, and the one after it adds another.
NEXT = (
    (StepKind.EXPAND, 'op.add_column("tombstones", Column("new", String))'),
    (StepKind.CONTRACT, 'op.drop_column("tombstones", "new")'),
)
AFTER_NEXT = (*NEXT, (StepKind.EXPAND, 'op.add_column("tombstones", Column("newest", String))'))

TODAY = migrations.STEPS


class Releases:
    """The version of imaged that this process has."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(
            migrations, "VERSION_LOCATIONS", (*migrations.VERSION_LOCATIONS, str(folder))
        )

    def today(self) -> None:
        """The version of this code."""
        self._monkeypatch.setattr(migrations, "STEPS", TODAY)

    def become(self, later: Sequence[tuple[StepKind, str]]) -> list[str]:
        """A version with further steps; returns their revisions."""
        steps = list(TODAY)
        for half, deed in later:
            before = steps[-1].revision
            revision = f"{int(before) + 1:04}"
            text = MODULE.format(revision=revision, before=before, deed=deed)
            (self._folder / f"r{revision}.py").write_text(text)
            steps.append(Step(revision, half))
        self._monkeypatch.setattr(migrations, "STEPS", tuple(steps))
        return [step.revision for step in steps[len(TODAY) :]]
