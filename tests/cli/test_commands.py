"""What operators do beside the daemon, command by command."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sqlite3
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from contracts.marker import a_marker
from imaged.api.authenticator import TokenFile
from imaged.cli import COMMAND_GROUPS, COMMANDS, EXIT_MISCONFIGURED, EXIT_PROBLEMS
from imaged.cli import imaged as group
from imaged.cli.examples import EXAMPLES
from imaged.cli.output import RUN_CHECK_CONFIG
from imaged.core.place_marker import MARKER_NAME, PlaceKind, write_marker_text
from support.command import Workspace, blobs, imaged
from support.daemon import clean_environment
from support.imaged_process import IMAGED
from support.kept_images import keep_image


@pytest.mark.parametrize("command", EXAMPLES)
def test_each_command_has_examples_that_it_takes(command: str) -> None:
    """Two at least, in its help, as they stand there; a shell's part is cut off."""
    words = command.split()
    help_text = CliRunner().invoke(group, [*words, "--help"], prog_name="imaged").output
    examples = EXAMPLES[command]

    assert len(examples) >= 2
    for example, purpose in examples.items():
        assert f"    {example}\n        {purpose}\n" in help_text
        call = re.split(r" (?:2?>>?) ", example.rpartition("| ")[2])[0].split()
        assert call[: len(words) + 1] == ["imaged", *words]
        _parse(group, call[1:])


def test_no_command_is_without_examples() -> None:
    """Subcommands neither."""
    tasks = group.get_command(click.Context(group), "tasks")
    assert isinstance(tasks, click.Group)

    assert EXAMPLES.keys() == COMMANDS.keys() | {f"tasks {name}" for name in tasks.commands}


def _parse(command: click.Command, arguments: list[str]) -> None:
    """Parse a command line as the command does. Raises UsageError."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        _, below, rest = command.resolve_command(context, arguments)
        assert below is not None
        _parse(below, rest)
    else:
        command.make_context("it", arguments).close()


def test_the_list_of_commands_is_the_help() -> None:
    """Each command with its purpose, below what it is for."""
    done = imaged("--help")

    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if f"{line[:-1]}" in COMMAND_GROUPS] == [
        f"{title}:" for title in COMMAND_GROUPS
    ]
    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "meant"), [(("stats",), "status"), (("tasks", "shw"), "show")]
)
def test_a_mistyped_command_is_named(arguments: tuple[str, ...], meant: str) -> None:
    """In words that a program finds, too."""
    done = imaged(*arguments, "--json")

    assert done.returncode == 2
    assert meant in json.loads(done.stdout)["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("serve", "--no-such-option"),
        ("restore",),
        ("quota", "p1", "--total", "12"),
        ("token", "--user", "ann"),
        ("token", "--user", "", "--project", "web"),
        ("token", "--user", "ann", "--project", "a\nb"),
        ("reconcile", "--max-delete", "-1"),
        ("status", "--watch", "soon"),
        ("tasks", "list", "--status", "done"),
    ],
)
def test_a_wrong_call_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    """The usage is printed on standard error."""
    done = imaged(*arguments)

    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert not done.stdout


def test_a_reader_that_has_enough_is_no_crash(workspace: Workspace) -> None:
    """`imaged pending | head` shows no traceback."""
    workspace.imaged("migrate")
    command = [IMAGED, "pending", "--config", str(workspace.file)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()

    assert errors == b""


def test_pending_lists_what_can_be_restored(workspace: Workspace) -> None:
    """With size, owner and the time left with the delay configured now."""
    waiting = keep_image(workspace, "wait", b"12345")
    keep_image(workspace, "stay", deleted=False)

    (row,) = json.loads(workspace.imaged("pending", "--json").stdout)
    (later,) = json.loads(
        workspace.imaged("pending", "--json", IMAGED_SCRUBBER__DELAY="48h").stdout
    )
    shown = workspace.imaged("pending").stdout

    assert (row["id"], row["name"], row["size_bytes"]) == (waiting, "wait", 5)
    assert row["owner"] == "p0"
    assert 86_000 < row["seconds_left"] <= 86_400
    assert 86_400 < later["seconds_left"] <= 2 * 86_400
    assert waiting in shown
    assert "23h59m" in shown


def test_a_name_cannot_command_the_terminal(workspace: Workspace) -> None:
    """Names come from users."""
    keep_image(workspace, "red\u202e")

    shown = workspace.imaged("pending").stdout

    assert "red" in shown
    assert "\u202e" not in shown


def test_restore_takes_an_image_back_once(workspace: Workspace) -> None:
    """Where there is nothing to restore: exit code 1 and one sentence."""
    image_id = keep_image(workspace, "back")

    first, second = workspace.imaged("restore", image_id), workspace.imaged("restore", image_id)
    unknown = workspace.imaged("restore", "no-such-image")

    assert (first.returncode, first.stdout) == (0, f"{image_id} is active again.\n")
    assert second.returncode == 1
    assert f"The image {image_id} cannot be restored" in second.stderr
    assert unknown.returncode == 1
    assert "has the name no-such-image. `imaged pending` lists" in unknown.stderr
    assert not json.loads(workspace.imaged("pending", "--json").stdout)


def test_deleted_images_are_found_by_their_name(workspace: Workspace) -> None:
    """If only one of them has it."""
    keep_image(workspace, "twice", deleted=False)
    image_id = keep_image(workspace, "twice")
    assert workspace.imaged("restore", "twice").stdout == f"{image_id} is active again.\n"

    others = [keep_image(workspace, "again") for _ in range(2)]
    refused = workspace.imaged("restore", "again")
    assert refused.returncode == 1
    assert "Several deleted images have the name again. Say which by its id" in refused.stderr
    assert all(other in refused.stderr for other in others)

    keep_image(workspace, "gone", b"12345")
    assert "is scrubbed: 5 B are free." in workspace.imaged("purge", "gone", "--yes").stdout


def test_purge_scrubs_one_image(workspace: Workspace) -> None:
    """Only with --yes where there is no terminal; others wait for their delay, and what is not
    deleted stays.
    """
    gone, kept = keep_image(workspace, "gone", b"12345"), keep_image(workspace, "kept")
    active = keep_image(workspace, "active", deleted=False)

    unasked, refused = workspace.imaged("purge", gone), workspace.imaged("purge", active, "--yes")
    assert (unasked.returncode, refused.returncode) == (2, 1)
    assert "The image gone of p0 (5 B) is deleted for good.\n" in unasked.stderr
    assert refused.stderr.startswith(f"Error: The image {active} cannot be purged: it is active")

    done = workspace.imaged("purge", gone, "--yes")
    assert (done.returncode, done.stdout) == (0, f"{gone} is scrubbed: 5 B are free.\n")
    (row,) = json.loads(workspace.imaged("pending", "--json").stdout)
    assert row["id"] == kept
    again = workspace.imaged("purge", gone, "--yes", "--json")
    assert again.returncode == 1
    assert "deleted already" in json.loads(again.stdout)["error"]


def test_a_dry_scrub_touches_nothing(workspace: Workspace) -> None:
    """It says what would go, as a table and as JSON."""
    image_id = keep_image(workspace, "due")

    facts = json.loads(
        workspace.imaged("scrub", "--dry-run", "--json", IMAGED_SCRUBBER__DELAY="0").stdout
    )
    shown = workspace.imaged("scrub", "--dry-run", IMAGED_SCRUBBER__DELAY="0").stdout
    early = workspace.imaged("scrub", "--dry-run").stdout

    assert [image_id] == [image["id"] for image in facts["images"]]
    assert image_id in shown
    assert early.startswith("0 deleted images")
    assert len(blobs(workspace.images)) == 1


def test_scrub_once_deletes_what_is_due(workspace: Workspace) -> None:
    """Nothing before its time, all of it after."""
    keep_image(workspace, "due")
    stays = keep_image(workspace, "stays", deleted=False)

    early = json.loads(workspace.imaged("scrub", "--once", "--json").stdout)
    assert len(blobs(workspace.images)) == 2
    done = workspace.imaged("scrub", "--once", IMAGED_SCRUBBER__DELAY="0")

    assert early["deleted"] == 0
    assert done.returncode == 0
    assert "1 image expired, 1 blob deleted (4 bytes), 0 put off, 0 records buried." in done.stdout
    (left,) = blobs(workspace.images)
    assert stays in left.name


def test_reconcile_touches_nothing_unless_it_is_told_to(workspace: Workspace) -> None:
    """A stray is shown first, then doomed, and a held blob never. The log is shown on request."""
    keep_image(workspace, "stays", deleted=False)
    stray = workspace.images / "ab" / f"ab{'0' * 6}-0000-4000-8000-{'0' * 12}.{'1' * 32}"
    stray.write_bytes(b"whose?")

    dry = workspace.imaged("reconcile")
    verbose = workspace.imaged("reconcile", "--verbose")
    wet = json.loads(workspace.imaged("reconcile", "--apply", "--max-delete", "1", "--json").stdout)
    workspace.imaged("scrub", "--once", IMAGED_SCRUBBER__DELAY="0")
    assert stray.exists(), "the quarantine is not over"

    assert dry.returncode == 0
    assert "blob.stray_found" not in dry.stderr
    assert '"event": "blob.stray_found"' in verbose.stderr
    assert verbose.stdout == dry.stdout
    assert stray.name in dry.stdout
    assert "1 blob without a row in the catalog" in dry.stdout
    assert "2 blobs compared: 1 stray, 0 doomed, 0 missing." in dry.stdout
    assert "Nothing was changed" in dry.stdout
    assert (wet["keys"], len(wet["strays"]), wet["doomed"]) == (2, 1, 1)


def test_reconcile_brakes_where_strays_are_many(workspace: Workspace) -> None:
    """The recommended number is enough; one less is a warning."""
    workspace.write("[reconcile]\nmax_strays = 1\nmax_share = 0\nquarantine = '0'")
    keep_image(workspace, "stays", deleted=False)
    for digit in "123":
        name = f"ab{'0' * 6}-0000-4000-8000-{'0' * 12}.{digit * 32}"
        (workspace.images / "ab" / name).write_bytes(b"")

    braked = workspace.imaged("reconcile", "--apply")
    two = workspace.imaged("reconcile", "--apply", "--max-delete", "2")
    assert len(blobs(workspace.images)) == 4
    three = workspace.imaged("reconcile", "--apply", "--max-delete", "3")
    workspace.imaged("scrub", "--once")

    assert (braked.returncode, two.returncode, three.returncode) == (1, 1, 0)
    assert "imaged reconcile --apply --max-delete 3" in braked.stderr
    assert len(blobs(workspace.images)) == 1


def test_missing_bytes_are_a_problem(workspace: Workspace) -> None:
    """Missing bytes are listed: exit code 1."""
    keep_image(workspace, "robbed", deleted=False)
    (blob,) = blobs(workspace.images)
    blob.unlink()

    done = workspace.imaged("reconcile")

    assert done.returncode == 1
    assert blob.name in done.stdout
    assert "1 missing blob that an image needs" in done.stdout
    assert "0 blobs compared: 0 strays, 0 doomed, 1 missing." in done.stdout


def test_a_token_is_known_by_its_entry(tmp_path: Path) -> None:
    """Standard output is the entry, without the token; the token is told apart from it."""
    done = imaged("token", "--user", "ann", "--project", "web", "--role", "reader")
    token = done.stderr.split()[-1]
    (entry,) = tomllib.loads(done.stdout)["token"]
    file = tmp_path / "tokens.toml"
    file.write_text(done.stdout)

    assert entry["sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert (entry["user"], entry["project"], entry["roles"]) == ("ann", "web", ["reader"])
    assert token not in done.stdout
    assert TokenFile(file).path == file


def test_a_role_that_no_default_rule_names_is_told() -> None:
    """It may be one of a policy file, or a slip."""
    done = imaged("token", "--user", "a", "--project", "w", "--role", "memebr", "--role", "service")

    assert done.returncode == 0
    assert "Only a policy file gives rights to the role memebr." in done.stderr
    assert "service" not in done.stderr


def test_migrate_can_be_called_again(workspace: Workspace) -> None:
    """The first call creates the catalog, the second changes nothing."""
    first, second = workspace.imaged("migrate"), workspace.imaged("migrate", "--json")

    assert (first.returncode, second.returncode) == (0, 0)
    facts = json.loads(second.stdout)
    assert facts["before"] == facts["now"]
    assert facts["now"] in first.stdout


def test_version_is_told() -> None:
    """As a line and as JSON."""
    facts = json.loads(imaged("version", "--json").stdout)

    assert imaged("version").stdout == f"imaged {facts['imaged']}\n"
    assert imaged("--version").stdout == f"imaged {facts['imaged']}\n"


@pytest.mark.parametrize(("typed", "meant"), [("statsu", "status"), ("shwo", "show")])
def test_a_mistyped_command_is_answered_with_the_one_that_is_like_it(
    typed: str, meant: str
) -> None:
    """With the exit code of a wrong command line."""
    done = imaged(typed)

    assert done.returncode == 2
    assert f"No such command '{typed}'. Did you mean '{meant}'?" in done.stderr


def test_check_config_reports_all_problems(workspace: Workspace) -> None:
    """Exit code 1, a line for each, no traceback; the same as JSON."""
    workspace.write("[scrubber]\ndelay = 'soon'\n[uplods]\n[log]\nlevel = 3")

    done = workspace.imaged("check-config", IMAGED_AUTH__METHOD="guess")
    facts = json.loads(workspace.imaged("check-config", "--json").stdout)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 4
    assert " uplods: imaged " in done.stderr
    assert "does not know this section; did you mean 'uploads'?" in done.stderr
    assert "environment: IMAGED_AUTH__METHOD: " in done.stderr
    assert [problem["key"] for problem in facts["problems"]] == [
        "uplods",
        "scrubber.delay",
        "log.level",
    ]


@pytest.mark.parametrize("command", ["check-config", "serve", "scrub", "work"])
def test_a_missing_folder_and_a_missing_file_are_problems(
    workspace: Workspace, command: str
) -> None:
    """Sentences with what to do, before anything is served; a folder may be mounted later."""
    workspace.images.rmdir()

    folder = workspace.imaged(command)
    workspace.file.unlink()
    file = workspace.imaged(command)

    lasting = EXIT_PROBLEMS if command == "check-config" else EXIT_MISCONFIGURED
    assert (folder.returncode, file.returncode) == (1, lasting)
    assert f"needs the folder {workspace.images}, which is missing" in folder.stderr
    why = f"{workspace.file}: cannot be read: No such file or directory; correct --config"
    assert why in file.stderr
    assert RUN_CHECK_CONFIG not in file.stderr  # it would say the same
    assert "Traceback" not in folder.stderr + file.stderr


def test_a_missing_export_destination_is_told(workspace: Workspace) -> None:
    """check-config names it: exports would fail, although the service starts without it."""
    missing = workspace.folder / "not mounted"
    workspace.write(f'[exports.backups]\ntype = "filesystem"\npath = "{missing}"')
    done = workspace.imaged("check-config")

    assert done.returncode == 1
    assert "backups" in done.stderr
    assert str(missing) in done.stderr


def test_an_export_destination_of_another_catalog_is_told(workspace: Workspace) -> None:
    """check-config names it: exports would fail."""
    exports = workspace.folder / "exports"
    exports.mkdir()
    marker = write_marker_text(a_marker("backups", kind=PlaceKind.EXPORTS))
    (exports / MARKER_NAME).write_bytes(marker)
    workspace.write(f'[exports.backups]\ntype = "filesystem"\npath = "{exports}"')
    workspace.imaged("migrate")
    done = workspace.imaged("check-config")

    assert done.returncode == 1
    assert "'backups' belongs to another catalog" in done.stderr


@pytest.mark.parametrize("command", ["check-config", "serve", "status"])
def test_a_newer_or_foreign_catalog_is_a_problem(workspace: Workspace, command: str) -> None:
    """Nothing is written into it."""
    workspace.imaged("migrate")
    with sqlite3.connect(workspace.catalog) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.execute("UPDATE compatibility SET oldest = '9999'")
    db.close()
    newer = workspace.imaged(command)
    letter = b"no database, but a letter to my aunt" * 100
    workspace.catalog.write_bytes(letter)
    foreign = workspace.imaged(command)

    assert (newer.returncode, foreign.returncode) == (1, 1)
    assert "newer version of imaged" in newer.stderr
    assert "is not a database" in foreign.stderr
    assert "Traceback" not in newer.stderr + foreign.stderr
    assert workspace.catalog.read_bytes() == letter


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_a_bad_token_file_is_a_problem(workspace: Workspace, tmp_path: Path, command: str) -> None:
    """Missing, or with an entry that cannot be right."""
    tokens = tmp_path / "tokens.toml"
    workspace.write(f"[auth]\nmethod = 'token'\ntoken_file = '{tokens}'")
    missing = workspace.imaged(command)
    tokens.write_text("[[token]]\nsha256 = 'plain'")
    wrong = workspace.imaged(command)

    code = EXIT_MISCONFIGURED if command == "serve" else EXIT_PROBLEMS
    assert {missing.returncode, wrong.returncode} == {code}
    assert str(tokens) in missing.stderr
    assert "entry 1" in wrong.stderr
    assert "plain" not in wrong.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [("check-config", EXIT_PROBLEMS), ("serve", EXIT_MISCONFIGURED), ("doctor", 2)],
)
def test_a_bad_policy_file_is_a_problem(
    workspace: Workspace, tmp_path: Path, command: str, code: int
) -> None:
    """It is named, with the line, the rule, the column and the remedy."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("# ours\nget_image: 'role:reader or tenant:%(owner)s'\n")
    workspace.write(f"[auth]\npolicy_file = '{policy}'")
    done = workspace.imaged(command)

    assert done.returncode == code
    place = f"{policy}, line 2, rule 'get_image', column 16"
    assert place in " ".join((done.stderr + done.stdout).split())
    assert "did you mean 'project_id'?" in " ".join((done.stderr + done.stdout).split())


@pytest.mark.parametrize("command", ["pending", "quota", "migrate"])
def test_a_catalog_without_a_folder_is_a_problem(workspace: Workspace, command: str) -> None:
    """Also by commands that need only the catalog."""
    where = f"sqlite:///{workspace.folder}/missing/catalog.db"
    arguments = ("p1",) if command == "quota" else ()

    done = workspace.imaged(command, *arguments, IMAGED_CATALOG__URL=where)

    assert done.returncode == 1
    assert "its folder is missing" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("section", ["API", "METRICS"])
def test_an_address_that_is_taken_is_a_problem(workspace: Workspace, section: str) -> None:
    """Exit code 1, and the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = workspace.imaged("serve", **{f"IMAGED_{section}__BIND": address})

    assert done.returncode == 1
    why = f"Error: Cannot listen on {address}: Address already in use: another program"
    assert done.stderr.startswith(why)
