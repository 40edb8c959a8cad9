"""Every command that a page tells people to type is typed by exactly one test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.page_claims import NOT_TYPED, PAGES, TYPED_BY, pages_of, typist
from support.page_examples import ROOT, blocks

SHELL = re.compile(r"(?m)^ *```(?:sh|bash|shell|console +.*)$")
TESTS = {test for page in PAGES for block in blocks(page) if (test := typist(block))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_is_typed_by_a_test(page: Path) -> None:
    """The table has the page, or a comment before the block names the test. Commands stand in
    blocks of ``console`` alone, where tests find them.
    """
    unclaimed = [f"{one.page}:{one.line}" for one in blocks(page) if typist(one) is None]

    assert unclaimed == []
    assert SHELL.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("test", sorted(TESTS))
def test_a_test_types_what_it_claims(test: str) -> None:
    """It is there, and takes the commands from the page."""
    assert "support.page_claims" in (ROOT / test).read_text(encoding="utf-8")
    assert pages_of(test)


def test_the_tables_have_nothing_that_is_gone() -> None:
    """Each page has a block for its test, and each exception is a command of its page."""
    assert all(page in pages_of(test) for page, test in TYPED_BY.items())
    for page, command in NOT_TYPED:
        steps = [step for block in blocks(ROOT / page) for step in block.steps]
        assert any(step.command.startswith(command) for step in steps), command
