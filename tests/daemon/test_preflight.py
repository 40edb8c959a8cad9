"""What conversions need: a hint where it is missing, and never a reason not to start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import Workspace


@pytest.fixture
def without_qemu_img(tmp_path: Path) -> str:
    """A search path without programs."""
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


def test_a_hint_at_what_is_missing(workspace: Workspace, without_qemu_img: str) -> None:
    """By the name of the package, and of the folder; the exit code is that of success."""
    workspace.write(f'[conversion]\nscratch = "{workspace.folder}/missing"')

    done = workspace.imaged("check-config", PATH=without_qemu_img)

    assert (done.returncode, done.stdout[:25]) == (0, "The configuration is good")
    refused, failing = done.stderr.splitlines()
    assert refused.startswith("hint: Tasks that convert will be refused: ")
    assert "qemu-utils" in refused
    assert "conversion.scratch" in failing
    assert str(workspace.folder / "missing") in failing


def test_hints_are_facts(workspace: Workspace, without_qemu_img: str) -> None:
    """Beside the problems."""
    workspace.write(f'[conversion]\nscratch = "{workspace.folder}"')

    facts = json.loads(workspace.imaged("check-config", "--json", PATH=without_qemu_img).stdout)

    assert facts["problems"] == []
    (hint,) = facts["hints"]
    assert "qemu-utils" in hint


def test_no_hints_where_no_tasks_are(workspace: Workspace, without_qemu_img: str) -> None:
    """An instance without that role needs none of it."""
    workspace.write('[daemon]\nroles = ["api", "scrubber"]')

    done = workspace.imaged("check-config", PATH=without_qemu_img)

    assert (done.returncode, done.stderr) == (0, "")


def test_certificates_that_cannot_be_read(workspace: Workspace) -> None:
    """They were asked for, so that is a problem; also for the daemon, in one line."""
    workspace.write(f'[fetch]\nca_file = "{workspace.folder}/missing.pem"')

    for command in ("check-config", "serve"):
        done = workspace.imaged(command)
        assert done.returncode != 0
        assert "fetch.ca_file" in done.stderr
        assert "Traceback" not in done.stderr
