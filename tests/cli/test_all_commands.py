"""What all commands have in common: they start quickly, talk to programs, and are documented."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import get_completion_class

from imaged.cli import COMMANDS
from imaged.cli import imaged as group
from imaged.cli.completion import COMPLETION_VARIABLE, SHELLS, script_for
from imaged.cli.output import NAME_CONFIG, RUN_DOCTOR, error_json, wants_json
from imaged.client.errors import ConnectionFailed, PushFailed
from imaged.config import ConfigInvalid, Problem
from imaged.core.errors import CatalogError, ImageNotFound
from references.commands import files, pages
from support.command import Workspace, imaged, serving
from support.daemon import clean_environment
from support.imaged_process import IMAGED

DOCS = Path(__file__).parents[2] / "docs"

#: Libraries that cost more to import than all of the help.
HEAVY = {
    "aiobotocore",
    "aiohttp",
    "alembic",
    "anyio",
    "asyncio",
    "msgspec",
    "oslo_utils",
    "prometheus_client",
    "pydantic",
    "rich",
    "sqlalchemy",
    "starlette",
    "structlog",
    "uvicorn",
}

#: What each command is called with, so that it ends by itself.
CALLS: dict[str, tuple[str, ...]] = {
    "scrub": ("--once",),
    "restore": ("no-such-image",),
    "purge": ("no-such-image", "--yes"),
    "quota": ("p1",),
    "tasks show": ("no-such-task",),
    "tasks cancel": ("no-such-task",),
}
WITHOUT_PLACE: dict[str, tuple[str, ...]] = {
    "push": ("no-such-file", "--url", "http://127.0.0.1:1", "--tries", "1"),
    "pull": ("x", "--url", "http://127.0.0.1:1", "--tries", "1"),
    "token": ("--user", "ann", "--project", "web"),
    "completion": ("bash",),
    "version": (),
    "login": ("http://127.0.0.1:1",),
    "profiles": (),
    "logout": (),
}
ENDLESS = {"serve", "work"}


def imported_by(*arguments: str) -> set[str]:
    """The libraries that a command line imports."""
    program = (
        "import sys; from imaged.cli import imaged; "
        f"imaged.main({list(arguments)!r}, standalone_mode=False); "
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        encoding="utf-8",
        env=clean_environment(),
    )
    return set(done.stderr.split())


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Each command and subcommand, groups included."""
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", inner) for below, inner in command.commands.items())


def commands() -> Iterator[tuple[str, click.Command]]:
    """Each command that is no group."""
    return (pair for pair in all_commands() if not isinstance(pair[1], click.Group))


NAMES = [name for name, _ in commands()]


@pytest.mark.parametrize("arguments", [["--help"], *([*name.split(), "--help"] for name in NAMES)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """Slow libraries are imported when they are needed."""
    assert not imported_by(*arguments) & HEAVY


def test_every_command_speaks_to_programs() -> None:
    """Every command has --json."""
    assert {
        name: any(one.name == "as_json" for one in command.params) for name, command in commands()
    } == (dict.fromkeys(NAMES, True))


@pytest.mark.parametrize("command", [name for name in NAMES if name not in ENDLESS])
def test_json_output_is_one_document(workspace: Workspace, command: str) -> None:
    """One document on standard output, whether it succeeds or fails."""
    if command in WITHOUT_PLACE:
        done = imaged(command, *WITHOUT_PLACE[command], "--json")
    else:
        done = workspace.imaged(command, *CALLS.get(command, ()), "--json")
    told = json.loads(done.stdout)

    assert told is not None
    if done.returncode == 1 and command != "doctor":
        assert set(told) == {"error", "remedy"}


@pytest.mark.parametrize("command", ["serve", "scrub", "work"])
def test_a_service_logs_for_programs(workspace: Workspace, command: str) -> None:
    """--json is the format of its log, whatever the configuration says."""
    workspace.write("[log]\nformat = 'console'")
    with serving(workspace.file, f"{command} --json") as process:
        process.wait_for("daemon.started")


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (ImageNotFound("x"), {"error": "There is no image x.", "remedy": None}),
        (
            ConnectionFailed("It broke."),
            {"error": "It broke.", "remedy": ConnectionFailed.remedy},
        ),
        (
            PushFailed("an-id", "f", ConnectionFailed("It broke.", "Mend it.")),
            {
                "error": "It broke.",
                "remedy": "Mend it. The image waits for another try: imaged push --image an-id f",
                "image_id": "an-id",
            },
        ),
    ],
)
def test_errors_have_one_shape(error: Exception, facts: dict[str, Any]) -> None:
    """A sentence, and what to do."""
    assert error_json(error) == facts


def test_a_forgotten_configuration_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config and without the default file, defaults lead to what is not there."""
    monkeypatch.setattr("imaged.cli.output.DEFAULT_CONFIG_FILE", tmp_path / "imaged.toml")
    error = CatalogError("It is gone.")

    monkeypatch.setattr("sys.argv", ["imaged", "pending"])
    assert error_json(error)["remedy"] == f"{NAME_CONFIG} {RUN_DOCTOR}"
    monkeypatch.setattr("sys.argv", ["imaged", "pending", "--config=a.toml"])
    assert error_json(error)["remedy"] == RUN_DOCTOR
    (tmp_path / "imaged.toml").touch()
    monkeypatch.setattr("sys.argv", ["imaged", "pending"])
    assert error_json(error)["remedy"] == RUN_DOCTOR


@pytest.mark.parametrize(
    "error",
    [
        CatalogError("It is gone."),
        ConfigInvalid([Problem("f", "k", "is wrong")]),
        click.UsageError("No."),
    ],
)
def test_errors_of_the_daemon_have_a_remedy(error: Exception) -> None:
    """The remedy names a command."""
    assert "`imaged " in error_json(error)["remedy"]


def test_a_usage_error_is_json_too() -> None:
    """With the exit code of wrong calls."""
    done = imaged("restore", "--json")

    assert done.returncode == 2
    assert json.loads(done.stdout)["remedy"] == "See `imaged restore --help`."
    assert not wants_json(["push", "--", "--json"])


def test_variables_of_clients_are_no_settings(workspace: Workspace) -> None:
    """A daemon starts although the variables of clients are set."""
    done = workspace.imaged(
        "check-config",
        IMAGED_URL="http://x",
        IMAGED_TOKEN="t",
        IMAGED_CA_FILE="/f",
        IMAGED_PROFILE="x",
    )

    assert done.returncode == 0, done.stderr


def test_the_catalog_is_not_contracted_unasked(workspace: Workspace) -> None:
    """Without a terminal it needs --yes."""
    refused = workspace.imaged("migrate", "--contract", "--json")
    done = workspace.imaged("migrate", "--contract", "--yes", "--json")

    assert refused.returncode == 2
    assert "--yes" in json.loads(refused.stdout)["error"]
    assert done.returncode == 0


def test_status_can_be_watched(workspace: Workspace) -> None:
    """Each look is a line, until it is interrupted; that is no failure."""
    workspace.imaged("migrate")
    with subprocess.Popen(
        [IMAGED, "status", "--config", str(workspace.file), "--watch", "100ms", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        errors = process.stderr.read()

    assert process.returncode == 0
    assert not errors
    assert [look["images"] for look in looks] == [{}] * 3
    assert looks[0]["at"] < looks[2]["at"]


# completion


def completed(*words: str) -> list[str]:
    """What click's own mechanism offers for the last word."""
    variables = {
        COMPLETION_VARIABLE: "zsh_complete",
        "COMP_WORDS": " ".join(("imaged", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = imaged(**variables)
    assert done.returncode == 0 or done.stdout, done.stderr
    return done.stdout.splitlines()


def test_bash_completes(workspace: Workspace) -> None:
    """A real bash, with the script as it is installed."""
    workspace.write(f"[stores.far]\ntype = 'filesystem'\npath = '{workspace.folder}'")
    words = ["imaged", "push", "--config", str(workspace.file), "--store", ""]
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        f"source {DOCS / 'completion/imaged.bash'}\n"
        "COMP_WORDS=(imaged pu); COMP_CWORD=1; _imaged_completion imaged; "
        'echo "${COMPREPLY[@]}"; COMPREPLY=()\n'
        "COMP_WORDS=(imaged status --wa); COMP_CWORD=2; _imaged_completion imaged; "
        'echo "${COMPREPLY[@]}"; COMPREPLY=()\n'
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _imaged_completion imaged; "
        'echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={**clean_environment(), "PATH": f"{Path(IMAGED).parent}:{os.environ['PATH']}"},
    )

    assert done.stdout.splitlines() == ["push pull purge", "--watch", "local far"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_its_script(shell: str) -> None:
    """It asks the command itself, by click's variable."""
    kind = get_completion_class(shell)
    assert kind is not None

    script = imaged("completion", shell).stdout

    assert script.strip() == script_for(shell)
    assert f"{COMPLETION_VARIABLE}={shell}_complete" in script
    assert json.loads(imaged("completion", shell, "--json").stdout)["script"] == script.strip()


def test_completion_offers_commands_and_choices() -> None:
    """By the mechanism that zsh and fish use too."""
    assert "doctor" in completed("")
    assert "qcow2" in completed("push", "--disk-format", "")
    assert completed("completion", "f")[1] == "fish"


# manual


def test_no_page_is_of_a_command_that_is_gone() -> None:
    """Each page in the folder is generated."""
    made = {name for name, _ in files()}

    assert {f"man/{path.name}" for path in (DOCS / "man").iterdir()} <= made
    assert {f"completion/{path.name}" for path in (DOCS / "completion").iterdir()} <= made


def test_every_command_and_option_has_its_place_in_the_manual() -> None:
    """With exit codes and variables."""
    texts, listed = dict(files()), {page.name for page in pages()}

    assert listed == {"imaged", *(f"imaged {name}" for name, _ in all_commands())}
    for name, command in all_commands():
        text = texts[f"man/imaged-{name.replace(' ', '-')}.1"].replace("\\-", "-")
        assert "\n.SH EXIT STATUS\n" in text
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (name, parameter.name)
                assert max(parameter.opts, key=len) in text


@pytest.mark.system
def test_man_pages_are_right() -> None:
    """Groff has nothing to complain about (apt install groff man-db)."""
    for page in sorted((DOCS / "man").iterdir()):
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", str(page)],
            capture_output=True,
            check=True,
            encoding="utf-8",
        )
        assert not done.stderr
        assert "NAME" in done.stdout
