"""Requirements of conversions: missing ones give a hint and do not stop the start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import Workspace


@pytest.fixture
def without_qemu_img(tmp_path: Path) -> str:
    """A PATH without programs."""
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


def test_a_hint_at_what_is_missing(workspace: Workspace, without_qemu_img: str) -> None:
    """Hints name the package and the folder, beside problems; the exit code is 0."""
    workspace.write(f'[conversion]\nscratch = "{workspace.folder}/missing"')

    done = workspace.imaged("check-config", PATH=without_qemu_img)
    facts = json.loads(workspace.imaged("check-config", "--json", PATH=without_qemu_img).stdout)

    assert (done.returncode, done.stdout[:25]) == (0, "The configuration is good")
    refused, failing = done.stderr.splitlines()
    assert refused.startswith("hint: Tasks that convert will be refused: ")
    assert "qemu-utils" in refused
    assert "conversion.scratch" in failing
    assert str(workspace.folder / "missing") in failing
    assert not workspace.catalog.exists()
    assert (facts["problems"], len(facts["hints"])) == ([], 2)


def test_no_hints_where_no_tasks_are(workspace: Workspace, without_qemu_img: str) -> None:
    """An instance without the tasks role needs neither."""
    workspace.write('[daemon]\nroles = ["api", "scrubber"]')

    done = workspace.imaged("check-config", PATH=without_qemu_img)

    assert (done.returncode, done.stderr) == (0, "")


def test_certificates_that_cannot_be_read(workspace: Workspace) -> None:
    """Configured certificates that cannot be read are a problem, for the daemon too."""
    workspace.write(f'[fetch]\nca_file = "{workspace.folder}/missing.pem"')

    for command in ("check-config", "serve"):
        done = workspace.imaged(command)
        assert done.returncode != 0
        assert "fetch.ca_file" in done.stderr
        assert "Traceback" not in done.stderr
