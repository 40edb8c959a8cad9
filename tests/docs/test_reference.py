"""The pages that are made from the code are those that the code makes today."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from runpy import run_path

import pytest

from generate import DOCS, REFERENCE, pages
from imaged.core.lifecycle import Status
from references import calls
from references.errors import answered
from references.markdown import MADE
from references.statuses import MEANINGS

ROOT = Path(__file__).parents[2]
OBSERVED = ROOT / "tests/api/test_reference.py"
EVERYWHERE = {401, 404, 405, 408, 500, 503}  # what any call may answer, as the page says
GLOSSARY = DOCS / "reference/glossary.md"


def test_pages_are_fresh() -> None:
    """`make docs` writes them."""
    stale = [name for name, text in pages().items() if written(name) != text]

    assert not stale, "run `make docs`"


def test_nothing_is_left_of_pages_that_are_made_no_more() -> None:
    """A page says that it is made from the code only if it is."""
    marked = {
        str(path.relative_to(DOCS))
        for path in DOCS.rglob("*.md")
        if f"\n{MADE}\n" in path.read_text(encoding="utf-8")
    }
    made = {name for name in pages() if name.endswith(".md")}

    assert marked == made - {"../README.md"}  # a part of it


def written(name: str) -> str:
    """What is there now."""
    page = DOCS / name
    return page.read_text(encoding="utf-8") if page.exists() else ""


@pytest.mark.parametrize("page", REFERENCE)
def test_tables_are_whole(page: str) -> None:
    """No cell has a bar of its own, and every row of a table has as many as its head."""
    rows = [
        (number, len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0)
        for number, line in enumerate(REFERENCE[page]().splitlines(), start=1)
    ]
    for (_, above), (number, here) in pairwise(rows):
        assert not above or not here or above == here, f"{page}:{number}"


def test_errors_have_a_remedy() -> None:
    """Each that a request is answered with."""
    assert len(answered()) > 60
    assert [error for _, error in answered() if not error.remedy] == []


def test_statuses_have_a_meaning() -> None:
    """Each of them."""
    assert MEANINGS.keys() == set(Status)


def test_calls_are_described_and_nothing_else() -> None:
    """Each method of each path."""
    assert calls.handlers().keys() == calls.CALLS.keys()


@pytest.mark.parametrize(("method", "path"), calls.CALLS)
def test_a_call_tells_how_it_ends_well(method: str, path: str) -> None:
    """Its handler's docstring, or its row, has a status below 400."""
    assert any(status < 400 for status in calls.statuses(method, path))


def test_observed_statuses_are_described() -> None:
    """No test of the API sees a status that the page does not name for that call."""
    for exchange in run_path(str(OBSERVED), run_name="observed")["EXCHANGES"]:
        method, _, address = exchange.request.partition(" ")
        call = described(method, address)
        if call is not None:
            allowed = {*calls.statuses(*call), *EVERYWHERE}
            assert exchange.status in allowed, f"{exchange.name}: {exchange.status}"


def described(method: str, address: str) -> tuple[str, str] | None:
    """The row for a method and an address."""
    path = address.partition("?")[0]
    for known_method, known in calls.CALLS:
        pattern = re.sub(r"\{[a-z_]+\}", "[^/]+", known)
        if method == known_method and re.fullmatch(pattern, path):
            return known_method, known
    return None


def test_the_glossary_is_in_order() -> None:
    """A word is found where one looks for it."""
    words = re.findall(r"(?m)^\| ([a-z ]+) \|", GLOSSARY.read_text(encoding="utf-8"))[1:]

    assert words == sorted(words)
    assert {"claim", "lease", "ledger", "doomed"} <= set(words)
