"""The questions of a night: each is answered from the log alone, by commands alone, and from the
metrics alone.

Each situation is made on real daemons. Then the commands of the page for admins are run as they
stand there, and what they print has the answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imaged.catalogs.postgresql.migrate import migrate_postgresql
from support.command import ServerProcess, Workspace, blobs, imaged, serving
from support.page_claims import typed_in
from support.page_examples import ROOT
from support.ports import reserve_port
from support.postgresql import Server
from support.waiting import wait_until

PAGE = "docs/how-to/answer-questions-at-night.md"
HERE = "tests/e2e/test_questions_at_night.py"
PLACE = "127.0.0.1:9293"  # where the page has the metrics
SOURCES = ("log", "imaged", "metrics")
PATIENCE_SECONDS = 30  # for a heartbeat, and for the metrics, which are as old as five seconds

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Answer:
    """What the output of each source has: regular expressions, with the names of ids in braces.
    ``image``: the name of the id that the page calls IMAGE.
    """

    log: Sequence[str]
    imaged: Sequence[str]
    metrics: Sequence[str]
    image: str = ""


#: While everything else works. Dead instances come first: they are forgotten after ten leases.
ANSWERS: Mapping[str, Answer] = {
    "Was work lost with an instance?": Answer(
        [r'"lost_by":"{far}"'],
        [r"upload_failed\s+reason [A-Z]", r"{far} is silent"],
        [r"imaged_claims_taken_back_total 1\.0"],
        image="lost",
    ),
    "Which instances are there, and which died?": Answer(
        [r'"instance":"{near}"', r'"instance":"{far}"'],
        [r"{far} is silent \(\d+s\)", r"{near}\s+0\.1\.0\s+api, scrubber"],
        [
            r'imaged_instances{{presence="here"}} 1\.0',
            r'imaged_instances{{presence="silent"}} 1\.0',
            r'process_start_time_seconds{{process="daemon"}}',
        ],
    ),
    "Who deleted an image, and from where?": Answer(
        [r'"user_id":"bob"', r'"peer":"127\.0\.0\.1"'],
        [r"deleted\s+bob\s+web\s+127\.0\.0\.1"],
        [r'imaged_images{{status="pending_delete"}} 1\.0'],
        image="deleted",
    ),
    "What goes next, and when?": Answer(
        [r'"scrub_due_at":"20'],
        [r"restorable +1 deleted image \(5 B\); the first goes in \d+m", r"{deleted}\s.*\d+m"],
        [
            r"imaged_scrub_delay_seconds 3600\.0",
            r'imaged_oldest_image_seconds{{status="pending_delete"}} \d',
        ],
    ),
    "Why did an upload fail?": Answer(
        [r'"reason":"The connection broke off'],
        [r"imaged_last_failure .*The connection broke off", r"upload_failed\s+ann\s.*reason [A-Z]"],
        [r'imaged_transfers_total{{direction="upload",outcome="broken_off"}} [1-9]'],
        image="failed",
    ),
    "Why did a task fail?": Answer(
        [r'"reason":"The image was deleted'],
        [r"failed +The image was deleted", r"{task}\s+api_image_import\s+failure"],
        [r'imaged_tasks_ended_total{{outcome="failure",type="api_image_import"}} 1\.0'],
    ),
    "Which instance works on an image, and until when?": Answer(
        [r'"instance":"{near}"', r'"timestamp":"20'],
        [r"{near}\s+{saving}\s+saving\s+\d+s\s+\d+s"],
        [r"imaged_claims_held 1\.0"],
        image="saving",
    ),
    "What is full?": Answer(
        [r'"store":"full".*"free_mib":\d'],
        [r"store full is full and refuses uploads", r"space +full: .* free, 8000\.0 TiB must"],
        [
            r'imaged_store_free_bytes{{store="full"}} \d',
            r'imaged_store_min_free_bytes{{store="full"}} 8\.79',
        ],
    ),
    "Which bytes are missing?": Answer(
        [r'"key":"../{missing}'],
        [r"missing blobs \(1\)", r"{missing}\S*\s+local"],
        [r"imaged_missing_blobs 1\.0"],
    ),
    "Which image is damaged?": Answer(
        [r'"problem":".*CRC-32C', r'"image_id":"{damaged}"'],
        [r"damaged images \(1\)", r"{damaged}\s+In the store 'local' .*CRC-32C"],
        [r"imaged_damaged_images 1\.0"],
    ),
    "How far behind is the scrubber?": Answer(
        [r'"lag_s":\d'],
        [r"deletion +\d+ blobs that no image needs.*; the first is due for \d"],
        [r"imaged_scrub_overdue_seconds [1-9]"],
    ),
    "What cannot be deleted, and why?": Answer(
        [r'"key":"../{stuck}.*"error":".*[Dd]irectory'],
        [r"blobs that could not be deleted \(1\)", r'"last_error": ".*[Dd]irectory'],
        [r"imaged_scrub_stuck_blobs 1\.0"],
    ),
    "Was the last reload accepted?": Answer(
        [r'"why":".*tokens\.toml', r'"changes":.*delay'],
        [r"reload +\d+s ago, rejected", r"tokens\.toml"],
        [r"imaged_config_last_reload_successful 0\.0"],
    ),
    "Is there a backup?": Answer(
        [r'"folder":".*/backups/2'],
        [r"backup +\d+s ago"],
        [r"imaged_backup_last_success_timestamp_seconds 1\.\d+e\+09"],
    ),
    "Which requests are refused?": Answer(
        [r'"status":401', r'"status":403', r'"user_id":"bob"', r'"peer":"127\.0\.0\.1"'],
        [r"requests +\d+ answered since the start, .*[2-9] refused \(401, 403\)"],
        [
            r'imaged_http_refusals_total{{code="401"}} 1\.0',
            r'imaged_http_refusals_total{{code="403"}} 1\.0',
        ],
    ),
    "Which requests fail?": Answer(
        [r'"error":".*has no blob'],
        [r"requests .* [1-9]\d* failed \(5xx\)"],
        [r'imaged_http_requests_total{{answer="5xx",kind="data"}} [1-9]'],
    ),
    "Is it slow, and where?": Answer(
        [r'"mib_per_s":\d'],
        [r"store local: A file was written.*took \d+ ms", r"catalog: .*answered within \d+s"],
        [
            r'imaged_store_operation_seconds_sum{{operation="put",store="local"}} \d',
            r'imaged_store_operation_seconds_count{{operation="put",store="local"}} [1-9]',
            r'imaged_catalog_transaction_seconds_sum{{kind="write"}} \d',
            r'imaged_http_request_duration_seconds_sum{{code="204",kind="data"}} \d',
            r"imaged_event_loop_lag_seconds \d",
        ],
    ),
    "Which token, key or certificate is wrong?": Answer(
        [r'"status":401', r'"why":".*tokens\.toml'],
        [r"problem +file .*tokens\.toml: can be read by all users"],
        [r'imaged_http_refusals_total{{code="401"}} 1\.0', r'imaged_store_up{{store="local"}} 1'],
    ),
}
#: While the folder of a store is away.
ANSWERS_WITHOUT_STORE: Mapping[str, Answer] = {
    "Since when does a store not work?": Answer(
        [r'"timestamp":"20.*"error":"The store .local. needs the folder'],
        [r"{near} is without store local \(\d+s\)"],
        [r'imaged_store_up{{store="local"}} 0\.0'],
    ),
}
#: While the database is away.
ANSWERS_WITHOUT_DATABASE: Mapping[str, Answer] = {
    "Since when is the database away?": Answer(
        [r'"timestamp":"20.*"error":"The catalog '],
        [r"Error: The catalog "],
        [r"imaged_catalog_up 0\.0"],
    ),
}


def test_each_question_has_its_answers(database: Server, tmp_path: Path) -> None:
    """From each of the three sources, while what is asked about is as it is."""
    night = Night(tmp_path, database)
    with night:
        night.break_what_can_break()
        night.ask(ANSWERS)
        night.lose_the_store()
        night.ask(ANSWERS_WITHOUT_STORE)
        database.stop(signal.SIGINT)
        night.ask(ANSWERS_WITHOUT_DATABASE)


def test_the_page_has_these_questions() -> None:
    """All of them, and no others; each has a command for each source."""
    asked = {**ANSWERS, **ANSWERS_WITHOUT_STORE, **ANSWERS_WITHOUT_DATABASE}

    assert len(asked) == 20
    assert questions().keys() == asked.keys()
    assert all(commands for cells in questions().values() for commands in cells.values())


@pytest.fixture
def database() -> Iterator[Server]:
    """A database that can be away."""
    server = Server()
    try:
        server.start()
        asyncio.run(migrate_postgresql(server.url))
        yield server
    finally:
        server.remove()


@dataclass
class Night:
    """Two daemons on one catalog and two stores, and the shell of an admin."""

    folder: Path
    database: Server
    ids: dict[str, str] = field(default_factory=dict)
    _opened: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        """Write the settings."""
        self._metrics = f"127.0.0.1:{reserve_port()}"
        self._workspace = Workspace(self.folder)
        self._workspace.images.mkdir()
        for name in ("spare", "full", "backups", "scratch"):
            (self.folder / name).mkdir()
        self._tokens = self.folder / "tokens.toml"
        self._path = f"{self.database.programs}:{os.environ['PATH']}"  # with pg_dump
        self._ann, self._bob = self._token("ann", "admin"), self._token("bob", "member")
        self._configure("near", "0")

    def __enter__(self) -> None:
        self._near = self._opened.enter_context(serving(self._workspace.file, PATH=self._path))
        self._near.token = self._ann
        self._note_instance("near", self._near)

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def break_what_can_break(self) -> None:
        """All that the first answers are about."""
        self._make_undeletable()
        self._lose_bytes()
        self._configure("near", "1h")
        self._near.reload()  # and compare stores and catalog
        self._near.wait_for("config.reloaded")
        self._kill_instance()
        self._break_upload_off()
        self._damage()
        self._fail_import()
        self._delete()
        self._refuse()
        self._back_up()
        self._near.wait_for("claim.taken_back")
        self._near.wait_for("scrub.finished")
        self._stop_scrubbing()
        self._begin_upload()
        self._reject_reload()
        self._near.wait_for("blob.bytes_missing")

    def lose_the_store(self) -> None:
        """As if its disk were not mounted any more."""
        self._workspace.images.rename(self.folder / "elsewhere")
        wait_until(lambda: self._near.ask("/readyz")[0] == 503)

    def ask(self, answers: Mapping[str, Answer]) -> None:
        """Run the commands that the page has for each question, until each answer is seen."""
        seen: dict[str, str] = {}
        for question, answer in answers.items():
            for source, commands in questions()[question].items():
                named = [self._with_ids(command, answer) for command in commands]
                for pattern in getattr(answer, source):
                    self._look_for(pattern, named, seen)

    def _with_ids(self, command: str, answer: Answer) -> str:
        command = command.replace("TASK", self.ids["task"])
        return command.replace("IMAGE", self.ids[answer.image]) if answer.image else command

    def _look_for(self, pattern: str, commands: Sequence[str], seen: dict[str, str]) -> None:
        wanted = re.compile(pattern.format_map(self.ids))

        def is_answered() -> bool:
            if any(wanted.search(seen.get(command, "")) for command in commands):
                return True
            for command in commands:
                seen[command] = self._run(command)
            return any(wanted.search(seen[command]) for command in commands)

        wait_until(
            is_answered,
            lambda: f"{wanted.pattern}\nis in none of\n{ {one: seen[one] for one in commands} }",
            PATIENCE_SECONDS,
        )

    def _run(self, command: str) -> str:
        """What a command of the page prints."""
        program, *arguments = command.split()
        if program != "imaged":
            return self._type(command)
        if arguments[0] == "show":
            arguments += ["--url", self._near.url]
        else:
            named = 2 if arguments[0] == "tasks" else 1
            arguments[named:named] = ["--config", str(self._workspace.file)]
        done = imaged(*arguments, IMAGED_TOKEN=self._ann, COLUMNS="200", PATH=self._path)
        return done.stdout + done.stderr

    def _type(self, command: str) -> str:
        """What the shell prints, after what the page tells to type into it first."""
        preparation = [step for block in typed_in(HERE, PAGE) for step in block.steps]
        lines = [step.command.removeprefix("$ ") for step in preparation]
        logs = sorted(self.folder.glob("*.*.log"))
        (self.folder / "imaged.log").write_text("".join(log.read_text() for log in logs))
        script = "\n".join([*lines, command]).replace(PLACE, self._metrics)
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert not done.stderr, f"{command}\n{done.stderr}"
        return done.stdout

    # What happens.

    def _make_undeletable(self) -> None:
        image_id = self._upload("stuck", X_Image_Meta_Store="spare")
        blob = self._blob_of(image_id)
        blob.unlink()
        (blob / "by hand").mkdir(parents=True)
        assert self._near.ask(f"/v2/images/{image_id}", "DELETE")[0] == 204
        self._near.wait_for("blob.delete_failed")

    def _lose_bytes(self) -> None:
        image_id = self._upload("missing")
        self._blob_of(image_id).unlink()
        assert self._near.ask(f"/v2/images/{image_id}/file")[0] == 503

    def _damage(self) -> None:
        image_id = self._upload("damaged")
        self._blob_of(image_id).write_bytes(b"other")
        self._near.ask(f"/v2/images/{image_id}/file")
        self._near.wait_for("image.damaged")

    def _fail_import(self) -> None:
        image_id = self._near.create_image()
        source = {"name": "web-download", "uri": "http://images.example.net/disk.raw"}
        asked = json.dumps({"method": source}).encode()
        assert self._near.ask(f"/v2/images/{image_id}/import", "POST", asked)[0] == 202
        self.ids["task"] = self._near.wait_for("image.import_started")["task_id"]
        assert self._near.ask(f"/v2/images/{image_id}", "DELETE")[0] == 204

    def _delete(self) -> None:
        image_id = self._upload("deleted")
        assert self._as_bob(f"/v2/images/{image_id}", "DELETE") == 204

    def _refuse(self) -> None:
        full = self._near.create_image()
        assert self._near.upload(full, b"bytes", X_Image_Meta_Store="full") == 413
        assert self._near.ask("/v2/images", X_Auth_Token="made-up")[0] == 401
        assert self._as_bob("/v2/images", "POST", b'{"visibility": "public"}') == 403

    def _as_bob(self, path: str, method: str, body: bytes | None = None) -> int:
        return self._near.ask(path, method, body, X_Auth_Token=self._bob)[0]

    def _break_upload_off(self) -> None:
        self.ids["failed"] = self._near.create_image()
        self._near.begin_upload(self.ids["failed"]).close()

    def _back_up(self) -> None:
        done = self._workspace.imaged("backup", "--verbose", PATH=self._path)
        assert done.returncode == 0, done.stderr
        (self.folder / "backup.1.log").write_text(done.stderr)

    def _kill_instance(self) -> None:
        file = self._configure("far", "1h")
        with serving(file, PATH=self._path) as far:
            far.token = self._ann
            self._note_instance("far", far)
            self.ids["lost"] = far.create_image()
            far.begin_upload(self.ids["lost"])
            far.end(signal.SIGKILL)

    def _stop_scrubbing(self) -> None:
        self._configure("near", "1h", every="0")
        self._near.reload()
        self._near.wait_for("config.reloaded", 2)
        self._near.begin_upload(self._near.create_image()).close()

    def _begin_upload(self) -> None:
        self.ids["saving"] = self._near.create_image()
        self._near.begin_upload(self.ids["saving"])

    def _reject_reload(self) -> None:
        self._tokens.write_text(f"{self._tokens.read_text()}\n[[tokens]]\n")
        self._tokens.chmod(0o644)
        self._near.reload()
        self._near.wait_for("config.rejected")

    def _upload(self, name: str, **headers: str) -> str:
        self.ids[name] = image_id = self._near.create_image()
        assert self._near.upload(image_id, b"bytes", **headers) == 204
        return image_id

    def _blob_of(self, image_id: str) -> Path:
        (blob,) = [path for path in blobs(self.folder) if path.name.startswith(image_id)]
        return blob

    def _note_instance(self, name: str, daemon: ServerProcess) -> None:
        self.ids[name] = daemon.wait_for("daemon.started")["instance"]

    def _token(self, user: str, role: str) -> str:
        """Make a token, with its entry in the file of tokens."""
        arguments = ("--user", user, "--project", "web", "--role", role, "--json")
        made: dict[str, Any] = json.loads(imaged("token", *arguments).stdout)
        with self._tokens.open("a") as tokens:
            tokens.write(made["entry"])
        self._tokens.chmod(0o600)
        return str(made["token"])

    def _configure(self, name: str, delay: str, every: str = "300ms") -> Path:
        """Write the settings of an instance; ``delay`` and ``every`` are those of its scrubber."""
        metrics = [self._metrics] if name == "near" else []
        file = self.folder / ("imaged.toml" if name == "near" else f"{name}.toml")
        file.write_text(
            f"""
            daemon = {{name = "{name}", roles = ["api", "scrubber"]}}
            api = {{bind = ["127.0.0.1:0"], min_rate_window = "10m"}}
            auth = {{method = "token", token_file = "{self._tokens}"}}
            catalog.url = "{self.database.url}"
            stores.default = "local"
            stores.local = {{type = "filesystem", path = "{self.folder}/images", min_free = "0"}}
            stores.spare = {{type = "filesystem", path = "{self.folder}/spare", min_free = "0"}}
            stores.full = {{type = "filesystem", path = "{self.folder}/full", min_free = "8000TiB"}}
            claims = {{lease = "4s", renew_every = "500ms"}}
            scrubber = {{delay = "{delay}", every = "{every}"}}
            reconcile.every = "1h"
            backup.folder = "{self.folder}/backups"
            conversion.scratch = "{self.folder}/scratch"
            metrics.bind = {json.dumps(metrics)}
            """
        )
        return file


def questions() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """The commands that the page has for each question, by source."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / PAGE).read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and "?" in line
    ]
    return {
        question: {
            source: [one for one in re.findall(r"`([^`]+)`", cell) if one.startswith(f"{source} ")]
            for source, cell in zip(SOURCES, cells, strict=True)
        }
        for question, *cells in rows
    }
