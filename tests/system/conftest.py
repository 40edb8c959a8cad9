"""A machine for all tests of a run, and nothing in it for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.booted import Machine, booted


@pytest.fixture(scope="session")
def shared_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Booted once: the first time ever takes a minute, and two seconds after that."""
    with booted(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture
def machine(shared_machine: Machine) -> Machine:
    """With imaged just installed, and not started."""
    shared_machine.clear()
    return shared_machine
