"""``imaged login``, ``profiles`` and ``logout`` with a real daemon that wants tokens."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.command import ServerProcess, Workspace, imaged, serving
from support.daemon import clean_environment
from support.imaged_process import IMAGED
from support.ports import reserve_port


@pytest.fixture
def token(workspace: Workspace) -> str:
    """A token that the daemon knows."""
    made = json.loads(imaged("token", "--user", "ann", "--project", "web", "--json").stdout)
    file = workspace.folder / "tokens.toml"
    file.write_text(made["entry"])
    workspace.write(f"[auth]\nmethod = 'token'\ntoken_file = '{file}'")
    return str(made["token"])


@pytest.fixture
def daemon(workspace: Workspace, token: str) -> Iterator[ServerProcess]:
    """A daemon that wants tokens."""
    del token
    with serving(workspace.file) as daemon:
        yield daemon


def call(
    workspace: Workspace, *arguments: str, told: str = "", **environment: str
) -> CompletedProcess[str]:
    """Run a command of a user whose folder is the workspace's."""
    return subprocess.run(
        [IMAGED, *arguments],
        check=False,
        capture_output=True,
        encoding="utf-8",
        input=told,
        env=clean_environment() | {"XDG_CONFIG_HOME": str(workspace.folder)} | environment,
    )


def profiles_file(workspace: Workspace) -> Path:
    """What the user remembers."""
    return workspace.folder / "imaged/profiles.toml"


def test_a_server_is_used_after_a_login(
    workspace: Workspace, daemon: ServerProcess, token: str
) -> None:
    """The token comes from standard input, and is printed nowhere; a logout forgets it."""
    refused = call(workspace, "ls", "--url", daemon.url)
    done = call(workspace, "login", daemon.url, "--profile", "lab", told=f"{token}\n")
    listed = call(workspace, "ls", "--json")
    profiles = call(workspace, "profiles", "--json")

    assert refused.returncode == 1
    assert done.returncode == 0, done.stderr
    assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
    assert json.loads(profiles.stdout)["profiles"] == [
        {"profile": "lab", "url": daemon.url, "auth_url": None, "has_token": True}
    ]
    shown = call(workspace, "profiles").stdout
    assert token not in done.stdout + done.stderr + profiles.stdout + shown
    assert token in profiles_file(workspace).read_text()

    assert call(workspace, "logout").returncode == 0
    assert token not in profiles_file(workspace).read_text()
    assert call(workspace, "logout").returncode == 2


@pytest.mark.parametrize("told", ["", "guessed\n", "two words\n"])
def test_a_refused_token_is_not_kept(
    workspace: Workspace, daemon: ServerProcess, told: str
) -> None:
    """Nor is a server that does not answer."""
    refused = call(workspace, "login", daemon.url, told=told)
    nowhere = call(workspace, "login", f"http://127.0.0.1:{reserve_port()}", "--json")

    assert (refused.returncode, nowhere.returncode) == (1, 1)
    assert "guessed" not in refused.stderr
    assert json.loads(nowhere.stdout)["error"].endswith("Connection refused.")
    assert not profiles_file(workspace).exists()


def test_a_typed_token_is_not_shown(
    workspace: Workspace, daemon: ServerProcess, token: str
) -> None:
    """On a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [IMAGED, "login", daemon.url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=clean_environment() | {"XDG_CONFIG_HOME": str(workspace.folder)},
    ) as process:
        os.close(theirs)
        shown = b""
        while not shown.endswith(b": "):
            shown += os.read(ours, 1)
        os.write(ours, f"{token}\n".encode())
        with suppress(OSError):  # the other end is closed
            while more := os.read(ours, 4096):
                shown += more
    os.close(ours)

    assert process.returncode == 0, shown
    assert f"Token for {daemon.url}" in shown.decode()
    assert token not in shown.decode()
    assert token in profiles_file(workspace).read_text()


def test_a_server_that_wants_no_token_is_sent_none(workspace: Workspace) -> None:
    """Whatever is on standard input."""
    with serving(workspace.file) as daemon:
        done = call(workspace, "login", daemon.url, "--json", told="no-token\n")
        known = call(workspace, "ls", "--json", IMAGED_URL=daemon.url)

    facts = json.loads(done.stdout)
    assert facts["has_token"] is False
    assert facts["file"] == str(profiles_file(workspace))
    assert "no-token" not in profiles_file(workspace).read_text()
    assert known.returncode == 0
