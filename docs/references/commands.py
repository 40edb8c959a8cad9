"""Makes the reference page of the commands, their man pages and completion scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import click

from imaged.cli import COMMANDS, imaged
from imaged.cli.completion import SHELLS, script_for
from imaged.cli.examples import EXAMPLES
from references.markdown import MADE, code, table

ENVIRONMENT: Mapping[str, str] = {
    "IMAGED_SECTION__KEY": "A setting, such as IMAGED_SCRUBBER__DELAY; it overrides the files.",
    "IMAGED_URL, IMAGED_PROFILE, OS_IMAGE_ENDPOINT_OVERRIDE, OS_ENDPOINT": "The service of push, "
    "pull, ls, show, set and rm, or the name of its profile; the first variable that is set.",
    "OS_CLOUD, OS_REGION_NAME, OS_CLIENT_CONFIG_FILE, OS_CLIENT_SECURE_FILE, "
    "OS_CLIENT_VENDOR_FILE": "The cloud of these commands without a login and its region, its "
    "clouds.yaml, secure.yaml and clouds-public.yaml.",
    "OS_AUTH_URL, OS_AUTH_TYPE, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME …": "How these commands "
    "sign in to Keystone without a login and a cloud, as the file openrc sets them.",
    "IMAGED_TOKEN, OS_TOKEN": "The token of these commands, unless the service is that of a "
    "profile or a cloud; --token-file overrides it.",
    "IMAGED_CA_FILE, OS_CACERT": "Certificates (PEM) that these commands trust, likewise.",
    "XDG_CONFIG_HOME": "The folder of imaged/profiles.toml; default: ~/.config.",
}
EXIT_CODES: Mapping[str, str] = {
    "0": "Done.",
    "1": "Failed, or there are problems.",
    "2": "The command line is wrong.",
    "130": "Interrupted.",
}
DOCTOR_EXIT_CODES: Mapping[str, str] = {
    "0": "No findings.",
    "1": "There are warnings.",
    "2": "There are problems, or the command line is wrong.",
    "130": "Interrupted.",
}
FILES: Mapping[str, str] = {
    "/etc/imaged/imaged.toml": "The configuration.",
    "/etc/imaged/conf.d/*.toml": "Additional settings, in the order of the names.",
    "~/.config/imaged/profiles.toml": "The servers of imaged login, with tokens and passwords.",
}
ERRORS = (
    "With --json, an error is one object on standard output: error, a sentence; remedy, "
    "what to do, or null; and image_id if a push left an image that waits for data."
)
_HEAD = f"""\
# Commands

{MADE}

Every command has `--json`. {ERRORS}
"""


@dataclass(frozen=True, slots=True)
class Page:
    """The manual page of one command."""

    name: str  # "imaged", or "imaged push"
    purpose: str
    usage: str
    paragraphs: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...] = ()  # subcommands with their purposes
    examples: tuple[tuple[str, str], ...] = ()  # calls with what they do


def pages() -> Iterator[Page]:
    """A page for imaged, and one for each command and subcommand."""
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
    """Pages of the subcommands."""
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
    examples = tuple(EXAMPLES.get(name.removeprefix("imaged "), {}).items())
    return Page(name, purpose, f"{name} {usage}", paragraphs, tuple(options), examples=examples)


def reference() -> str:
    """The reference page, in Markdown."""
    codes = table(("exit code", "meaning"), EXIT_CODES.items())
    variables = table(
        ("variable", "meaning"), ((code(name), what) for name, what in ENVIRONMENT.items())
    )
    return "\n".join([_HEAD, codes, variables, *map(_section, list(pages())[1:])])


def _section(page: Page) -> str:
    options = table(("option", "meaning"), ((code(name), what) for name, what in page.options))
    usage = f"```\n{page.usage}\n```"
    examples = table(
        ("example", "what it does"), ((code(one), what) for one, what in page.examples)
    )
    return "\n\n".join([f"## {page.name}", usage, *page.paragraphs, options, examples])


def roff(page: Page) -> str:
    """The page as a man page."""
    title = page.name.replace(" ", "-")
    codes = DOCTOR_EXIT_CODES if page.name == "imaged doctor" else EXIT_CODES
    lines = [
        f'.\\" {MADE}',
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
    if page.examples:
        lines += [".SH EXAMPLES", *_list(dict(page.examples))]
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
    """Plain text with the signs of roff escaped, also at the beginning of lines."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "").replace('"', "\\(dq")
    escaped = escaped.replace("…", "...").replace("→", "->")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def files() -> Iterator[tuple[str, str]]:
    """Name and text of each file below docs that ``make install-system`` installs."""
    for page in pages():
        yield f"man/{page.name.replace(' ', '-')}.1", roff(page)
    for shell in SHELLS:
        yield f"completion/imaged.{shell}", script_for(shell) + "\n"
