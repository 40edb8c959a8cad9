"""The manual, drawn from the commands: one page of reference, a page for man(1) each, and what
makes shells complete them. ``make docs`` writes all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click

from imaged.cli import COMMANDS, imaged
from imaged.cli.completion import SHELLS, script_for

ENVIRONMENT: Mapping[str, str] = {
    "IMAGED_SECTION__KEY": "A setting, such as IMAGED_SCRUBBER__DELAY; it wins over the files.",
    "IMAGED_URL, OS_IMAGE_ENDPOINT_OVERRIDE, OS_ENDPOINT": "The service that push and pull talk "
    "to; the first that is set.",
    "IMAGED_TOKEN, OS_TOKEN": "The token that push and pull show; --token-file wins.",
    "IMAGED_CA_FILE, OS_CACERT": "Certificates (PEM) that push and pull trust.",
}
EXIT_CODES: Mapping[str, str] = {
    "0": "It is done.",
    "1": "It failed, or there is something to mend.",
    "2": "The command line cannot be understood.",
    "130": "It was interrupted.",
}
DOCTOR_EXIT_CODES: Mapping[str, str] = {
    "0": "All is well.",
    "1": "There are warnings.",
    "2": "There are problems, or the command line cannot be understood.",
    "130": "It was interrupted.",
}
FILES: Mapping[str, str] = {
    "/etc/imaged/imaged.toml": "The configuration.",
    "/etc/imaged/conf.d/*.toml": "What is added to it, in the order of the names.",
}
ERRORS = (
    "With --json, whatever goes wrong is one object on standard output: error, a sentence; remedy, "
    "what to do, or null; and image_id where a push left an image that waits."
)
REFERENCE_HEAD = """\
# Commands

Made from the code by `make docs`; do not edit.

Every command has `--json`. {errors}

| exit code | |
|---|---|
{codes}

| variable | |
|---|---|
{variables}
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to tell of one command."""

    name: str  # "imaged", or "imaged push"
    purpose: str
    usage: str
    paragraphs: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...] = ()  # of one that has some: names, and what for


def pages() -> Iterator[Page]:
    """The whole, and each command."""
    top = click.Context(imaged, info_name="imaged", **imaged.context_settings)
    listed = tuple((f"imaged-{name}", purpose) for name, purpose in COMMANDS.items())
    yield replace(_page("imaged", "keeps disk images", imaged, top), commands=listed)
    for name, purpose in COMMANDS.items():
        command = imaged.get_command(top, name)
        if command is not None:
            context = click.Context(command, info_name=name, parent=top)
            below = list(_subcommands(command, context))
            listed = tuple((page.name.replace(" ", "-"), f"{page.purpose}.") for page in below)
            page = _page(f"imaged {name}", purpose.rstrip("."), command, context)
            yield replace(page, commands=listed)
            yield from below


def _subcommands(command: click.Command, context: click.Context) -> Iterator[Page]:
    """The commands of a command that has some."""
    for name, inner in getattr(command, "commands", {}).items():
        below = click.Context(inner, info_name=name, parent=context)
        page = _page(below.command_path, "", inner, below)
        yield replace(page, purpose=page.paragraphs[0].rstrip("."))


def _page(name: str, purpose: str, command: click.Command, context: click.Context) -> Page:
    options = [
        record
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) and record[1]
    ]
    usage = " ".join(command.collect_usage_pieces(context))
    text = re.sub(r"(?m)^ +", "", command.help or "").strip()
    paragraphs = tuple(" ".join(part.split()) for part in text.split("\n\n"))
    return Page(name, purpose, f"{name} {usage}", paragraphs, tuple(options))


def reference() -> str:
    """One page of reference, in Markdown."""
    head = REFERENCE_HEAD.format(
        errors=ERRORS,
        codes="\n".join(f"| {code} | {what} |" for code, what in EXIT_CODES.items()),
        variables="\n".join(f"| `{name}` | {what} |" for name, what in ENVIRONMENT.items()),
    )
    sections = (_section(page) for page in list(pages())[1:])
    return "\n".join([head, *sections]).rstrip() + "\n"


def _section(page: Page) -> str:
    lines = [f"## {page.name}\n", f"```\n{page.usage}\n```\n"]
    lines += [f"{paragraph}\n" for paragraph in page.paragraphs]
    lines += ["| option | |", "|---|---|"]
    lines += [f"| `{_cell(name)}` | {_cell(text)} |" for name, text in page.options]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    """What stands in a table must not end its cell."""
    return text.replace("|", "\\|")


def roff(page: Page) -> str:
    """The page in the language of man pages."""
    title = page.name.replace(" ", "-")
    codes = DOCTOR_EXIT_CODES if page.name == "imaged doctor" else EXIT_CODES
    lines = [
        '.\\" Made from the code by `make docs`; do not edit.',
        f'.TH "{title.upper()}" "1" "" "imaged" "imaged"',
        ".SH NAME",
        _roff(f"{title} - {page.purpose}"),
        ".SH SYNOPSIS",
        f".B {_roff(page.name)}",
        _roff(page.usage.removeprefix(page.name).strip()),
        ".SH DESCRIPTION",
    ]
    for paragraph in page.paragraphs:
        lines += [".PP", _roff(paragraph)]
    if page.commands:
        lines += [".SH COMMANDS", *_list({f"{name}(1)": what for name, what in page.commands})]
    lines += [".SH OPTIONS", *_list(dict(page.options))]
    lines += [".SH EXIT STATUS", *_list(codes)]
    lines += [".SH ENVIRONMENT", *_list(ENVIRONMENT), ".SH FILES", *_list(FILES)]
    lines += [".SH ERRORS", _roff(ERRORS)]
    if page.name != "imaged":
        lines += [".SH SEE ALSO", ".BR imaged (1)"]
    return "\n".join(lines) + "\n"


def _list(items: Mapping[str, str]) -> Iterator[str]:
    for name, text in items.items():
        yield ".TP"
        yield f".B {_roff(name)}"
        yield _roff(text)


def _roff(text: str) -> str:
    """Plain text for roff: its signs are kept from meaning something, at the begin of lines too."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "").replace('"', "\\(dq")
    escaped = escaped.replace("…", "...").replace("→", "->")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def files() -> Iterator[tuple[str, str]]:
    """What ``make install-system`` installs: every file below docs, and what is in it."""
    for page in pages():
        yield f"man/{page.name.replace(' ', '-')}.1", roff(page)
    for shell in SHELLS:
        yield f"completion/imaged.{shell}", script_for(shell) + "\n"


def write(folder: Path) -> None:
    """Write them below a folder."""
    for name, text in files():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
