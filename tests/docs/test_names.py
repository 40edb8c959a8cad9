"""Pages and docstrings name what is there: files, classes, functions, commands, decisions.

A name is what stands in backticks. Pages that are made from the code are right anyway, and the
changelog tells of names that are gone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from imaged.cli import COMMANDS
from references.markdown import MADE

ROOT = Path(__file__).parents[2]
FILES = [
    path
    for top in ("src", "tests", "bench", "docs", "config", "monitoring", "systemd")
    for path in (ROOT / top, *(ROOT / top).rglob("*"))
]
CODE = [path for path in FILES if path.suffix == ".py"]

PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
    if MADE not in page.read_text(encoding="utf-8")
]
#: Pages for people who change the code: what they have in `snake_case` is a name in it.
ON_CODE = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs/how-to/add-a-task-type.md",
    *(ROOT / "docs/decisions").glob("*.md"),
]

QUOTED = re.compile(r"`([^`\n]+)`")
PATH = re.compile(
    r"(?<![\w/.])(?:[\w./-]+\.py|(?:src|tests|docs|bench|config|monitoring|systemd)/[\w./-]*\w)\b"
)
MODULE = re.compile(r"imaged(?:\.\w+)+")
CLASS = re.compile(r"(?:(?:[A-Z][a-z0-9]+){2,}|[A-Z][a-z]+(?=\.))(?:\.\w+)*(?:\(.*\))?")
SNAKE_CASE = re.compile(r"[a-z]\w*_\w+|\w+(?:\.\w+)*\(.*\)")
TARGET = re.compile(r"make ([a-z][a-z0-9-]*)\b.*")
COMMAND = re.compile(r"imaged ([a-z][a-z-]*)\b.*")
DECISION = re.compile(r"\b[Dd]ecisions? (\d+)(?: and (\d+))?")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def quoted(text: str, pattern: re.Pattern[str]) -> list[str]:
    """What has this form, of all that stands in backticks outside of blocks."""
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", text)
    return [name for name in QUOTED.findall(prose) if pattern.fullmatch(name)]


def missing_paths(text: str) -> list[str]:
    """The paths in backticks with which no path of the repository ends."""
    paths = [path for name in QUOTED.findall(text) for path in PATH.findall(name)]
    return [path for path in paths if not any(f"{file}".endswith(f"/{path}") for file in FILES)]


def missing_classes(names_told: Iterable[str]) -> list[str]:
    """The classes of which a part is no name of the code."""
    return [name for name in names_told if not names().issuperset(parts(name))]


def parts(name: str) -> list[str]:
    """Of a dotted name, without its arguments."""
    return name.partition("(")[0].split(".")


@cache
def names() -> frozenset[str]:
    """What the code defines, imports or uses, and its texts of one word; no comments."""
    found: set[str] = set()
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for attribute in ("name", "id", "attr", "arg", "value"):
                value = getattr(node, attribute, None)
                if isinstance(value, str):
                    found.update(value.split("."))
    return frozenset(found)


@cache
def words() -> frozenset[str]:
    """Every word of the sources, such as the name of a column in a text."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))


@each_page
def test_files_are_there(page: Path) -> None:
    """Each file or folder that a page names exists."""
    assert missing_paths(page.read_text(encoding="utf-8")) == []


@each_page
def test_classes_are_there(page: Path) -> None:
    """Each class, with its attributes, is one of the code."""
    assert missing_classes(quoted(page.read_text(encoding="utf-8"), CLASS)) == []


@each_page
def test_commands_are_there(page: Path) -> None:
    """Each command of imaged and each target of make can be called."""
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z][a-z0-9-]*):", makefile))

    assert {TARGET.sub(r"\1", span) for span in quoted(text, TARGET)} <= targets
    assert {COMMAND.sub(r"\1", span) for span in quoted(text, COMMAND)} <= COMMANDS.keys()


@pytest.mark.parametrize("page", ON_CODE, ids=lambda page: page.name)
def test_functions_and_modules_are_there(page: Path) -> None:
    """Each name in snake case, and each dotted module, is a word of the sources."""
    text = page.read_text(encoding="utf-8")
    told = [*quoted(text, SNAKE_CASE), *quoted(text, MODULE)]

    assert [name for name in told if not words().issuperset(parts(name))] == []


@pytest.mark.parametrize("top", ["src", "tests", "bench", "docs"])
def test_docstrings_name_what_is_there(top: str) -> None:
    """Files and classes, as on pages."""
    gone = {}
    for path in CODE:
        if path.is_relative_to(ROOT / top):
            text = path.read_text(encoding="utf-8")
            if missing := missing_paths(text) + missing_classes(quoted(text, CLASS)):
                gone[str(path.relative_to(ROOT))] = missing

    assert gone == {}


def test_decisions_are_there() -> None:
    """Each that a page, a setting or the code refers to by its number."""
    numbers = {path.name[:4] for path in (ROOT / "docs/decisions").glob("0*.md")}
    told = {
        f"{int(number):04}"
        for path in (*PAGES, *CODE, ROOT / "CHANGELOG.md", ROOT / "config/imaged.toml")
        for found in DECISION.findall(path.read_text(encoding="utf-8"))
        for number in found
        if number
    }

    assert len(told) > 10
    assert told <= numbers
