"""A service that cannot start: its exit code tells systemd whether to try again, its words why."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from imaged.config.model import SECTIONS
from references.mistakes import FILE_NAME, examples
from support.command import Workspace
from support.daemon import clean_environment
from support.imaged_process import IMAGED
from support.service_manager import listening_service_manager

SERVICES = ["serve", "scrub", "work"]
EX_CONFIG = 78  # sysexits(3)
NO_BUCKET = "[stores.cloud]\ntype = 's3'\nbucket = 'images'\nendpoint = 'http://127.0.0.1:1'\n"


@pytest.mark.parametrize("command", SERVICES)
def test_a_mistake_in_the_configuration_is_exit_code_78(workspace: Workspace, command: str) -> None:
    """Systemd does not try again what cannot succeed; other commands keep their codes."""
    workspace.write("[scrubber]\ndelay = 'soon'")

    done = workspace.imaged(command)

    assert done.returncode == EX_CONFIG
    assert "scrubber.delay: must be a duration" in done.stderr
    assert workspace.imaged("check-config").returncode == 1
    assert workspace.imaged("doctor").returncode == 2
    assert workspace.imaged("pending").returncode == 1


def test_a_start_says_what_the_page_of_mistakes_says(workspace: Workspace) -> None:
    """One mistake of each section: the answer is the same, with the path of the file."""
    of_sections = {(one.problem.key or "").partition(".")[0]: one for one in examples()}
    assert of_sections.keys() >= SECTIONS.keys()

    for example in of_sections.values():
        workspace.file.write_text(example.text)
        done = workspace.imaged("serve")

        where = f"Error: {workspace.file}{example.answer.removeprefix(FILE_NAME)}"
        assert done.returncode == EX_CONFIG, example.text
        assert " ".join(where.split()) in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[auth]\nmethod = 'token'\ntoken_file = '/nowhere'",
            "auth.token_file: The token file",
        ),
        ("[metrics]\ntoken_file = '/nowhere'", "metrics.token_file: The token file /nowhere"),
        ("[fetch]\nca_file = '/nowhere'", "fetch.ca_file: The certificates in /nowhere"),
        (f"{NO_BUCKET}access_key_file = '/nowhere'\nsecret_key_file = '/nowhere'", "'cloud'"),
        ("[metrics]\nbind = ['unix:{folder}/imaged.toml']", "Cannot listen on unix:"),
    ],
)
def test_a_file_that_is_wrong_is_a_mistake_too(workspace: Workspace, text: str, words: str) -> None:
    """Whatever the settings name and only an operator can correct."""
    workspace.write(text.replace("{folder}", str(workspace.folder)))

    done = workspace.imaged("serve")

    assert words in done.stderr
    assert done.returncode == EX_CONFIG


def test_what_may_come_back_is_tried_again(workspace: Workspace) -> None:
    """A folder that is not mounted yet, and an address that is still in use: exit code 1."""
    workspace.images.rmdir()
    assert workspace.imaged("serve").returncode == 1
    workspace.images.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert workspace.imaged("serve", IMAGED_API__BIND=address).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "event"),
    [
        *(((command,), "daemon.start_failed") for command in SERVICES),
        (("check-config", "--settings-only"), "config.rejected"),
    ],
)
def test_the_journal_gets_an_error_for_each_reason(
    workspace: Workspace, tmp_path: Path, arguments: tuple[str, ...], event: str
) -> None:
    """Behind the priority that the journal reads in a line, if it takes no fields."""
    workspace.write("[scrubber]\ndelay = 'soon'\nconcurrency = 0")
    journal = tmp_path / "journal"
    with journal.open("w") as stream:
        place = journal.stat()
        environment = {"JOURNAL_STREAM": f"{place.st_dev}:{place.st_ino}"}
        subprocess.run(
            [IMAGED, *arguments, "--config", str(workspace.file)],
            env=clean_environment() | environment,
            stderr=stream,
            check=False,
        )

    lines = journal.read_text().splitlines()
    assert [line[:3] for line in lines] == ["<3>", "<3>"]
    told = [json.loads(line[3:]) for line in lines]
    assert {one["event"] for one in told} == {event}
    assert "scrubber.delay" in told[0]["why"]
    assert "scrubber.concurrency" in told[1]["why"]


def test_the_status_says_why_after_the_end(workspace: Workspace, tmp_path: Path) -> None:
    """Systemd keeps the last status of a service that failed."""
    with listening_service_manager(tmp_path) as manager:
        workspace.write("[scrubber]\ndelay = 'soon'\nconcurrency = 0")
        workspace.imaged("serve", NOTIFY_SOCKET=manager.address)
        status = manager.next_message()["STATUS"]

    assert status.startswith(f"not started: {workspace.file}")
    assert "scrubber.delay" in status
    assert status.endswith("(and 1 more)")


def test_a_check_before_a_reload_misses_no_credential(workspace: Workspace) -> None:
    """Systemd shows them to the daemon alone: a folder that cannot be read, even by root."""
    workspace.write("[auth]\nmethod = 'token'")
    hidden = {"CREDENTIALS_DIRECTORY": f"/{'x' * 300}"}

    assert workspace.imaged("check-config", "--settings-only").returncode == 1
    assert workspace.imaged("check-config", "--settings-only", **hidden).returncode == 0
    done = workspace.imaged("check-config", **hidden)
    assert done.returncode == 1
    assert "credentials: cannot be read: File name too long" in done.stderr


def test_a_check_before_a_reload_opens_nothing(workspace: Workspace) -> None:
    """The settings and the tokens are read; a store that is away does not keep it from applying."""
    workspace.images.rmdir()
    assert workspace.imaged("check-config", "--settings-only").returncode == 0
    assert workspace.imaged("check-config").returncode == 1

    workspace.write("[auth]\nmethod = 'token'\ntoken_file = '/nowhere'")
    done = workspace.imaged("check-config", "--settings-only")
    assert done.returncode == 1
    assert "auth.token_file" in done.stderr
