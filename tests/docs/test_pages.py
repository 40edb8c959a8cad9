"""Pages for operators lead somewhere, and tell of commands and settings that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import click
import pytest

from imaged.catalogs.migrations import STEPS
from imaged.cli import imaged
from imaged.config import load
from imaged.config.model import SECTIONS, field_at_path
from support.page_examples import blocks

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "docs/reference/events.md"
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]

DONE = [ROOT / "docs/tutorial.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
TOML = re.compile(r"^ *```toml\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:sudo -u imaged |[A-Z_]+=\S+ )*(?:\S*/)?imaged (?P<rest>[a-z].*)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def typed(page: Path) -> Iterator[list[str]]:
    """The commands of imaged that a page tells to type, in words, without ``imaged``."""
    for block in blocks(page):
        for step in block.steps:
            for part in re.split(r"[|;&>]|(?:^|\s)#(?=\s)", step.command[2:].replace("\\\n", " ")):
                if found := COMMAND.match(part.strip()):
                    yield found["rest"].split()


@pytest.mark.parametrize("page", DONE, ids=lambda page: page.name)
def test_a_page_names_its_readers_and_its_outcome(page: Path) -> None:
    """In its first paragraph, so that others need not read on."""
    _, first, *_ = page.read_text().split("\n\n")

    assert re.match(r"For [^.]+\. The outcome: [^.]+", " ".join(first.split()))


@pytest.mark.parametrize("page", DONE, ids=lambda page: page.name)
def test_a_page_has_the_revision_of_this_version(page: Path) -> None:
    """Where it shows what `imaged migrate` says."""
    assert set(re.findall(r"revision (\d{4})", page.read_text())) <= {STEPS[-1].revision}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that is there, relative to the page."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@each_page
def test_commands_and_options_are_there(page: Path) -> None:
    """Typing what the page says gives no error: the command is there, and what stands behind it."""
    for name, *words in typed(page):
        command = imaged.get_command(click.Context(imaged), name)
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words[0])
        assert command is not None, f"imaged {name} {words}"
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        told = {word.partition("=")[0] for word in words if word.startswith("-")} - {"-"}
        assert told <= known, f"imaged {name}"


@each_page
def test_settings_can_be_used(page: Path, tmp_path: Path) -> None:
    """All blocks of settings together are valid."""
    file, more = tmp_path / "imaged.toml", tmp_path / "conf.d"
    more.mkdir()
    file.touch()
    for number, block in enumerate(TOML.findall(page.read_text())):
        (more / f"{number:02}.toml").write_text(dedent(block))

    load(file, {})


def test_the_pages_do_tell_of_commands() -> None:
    """The test above looks at something."""
    told = {words[0] for page in PAGES for words in typed(page)}

    assert {"pending", "restore", "scrub", "check-config", "token"} <= told


@each_page
def test_settings_are_there(page: Path) -> None:
    """Names like `scrubber.delay` are those of the code."""
    sections = "|".join(SECTIONS)
    events = set(re.findall(r"(?m)^\| `([a-z_.]+)`", EVENTS.read_text()))
    for path in re.findall(rf"`((?:{sections})\.[a-z_.]+)[^`]*`", page.read_text()):
        assert path in events or field_at_path(path.split(".")), path
