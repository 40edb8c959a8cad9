"""Pages for operators lead somewhere, and tell of commands and settings that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaged.cli import COMMANDS
from imaged.config.model import SECTIONS, field_at

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "docs/reference/events.md"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def commands(page: Path) -> Iterator[str]:
    """The commands of imaged that a page tells to type."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        for line in map(str.strip, block.splitlines()):
            if line.startswith(("$ ", "# ")):
                yield from re.findall(
                    r"(?:^..|sudo -u imaged |/| [A-Z_]+=\S+ )imaged ([a-z]\S*)", line
                )


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that is there, relative to the page."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@each_page
def test_commands_are_there(page: Path) -> None:
    """Whoever types what he reads meets no error."""
    assert set(commands(page)) <= COMMANDS.keys()


def test_the_pages_do_tell_of_commands() -> None:
    """The test above looks at something."""
    told = {command for page in PAGES for command in commands(page)}

    assert {"pending", "restore", "scrub", "check-config", "token"} <= told


@each_page
def test_settings_are_there(page: Path) -> None:
    """Names like `scrubber.delay` are those of the code."""
    sections = "|".join(SECTIONS)
    events = set(re.findall(r"(?m)^\| `([a-z_.]+)`", EVENTS.read_text()))
    for path in re.findall(rf"`((?:{sections})\.[a-z_.]+)[^`]*`", page.read_text()):
        assert path in events or field_at(path.split(".")), path
