"""Secrets, pushed through every error that real parts can be brought to: they come out nowhere.

What is looked at: the log in every format, what commands print, and what HTTP answers.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from imaged.cli import EXIT_MISCONFIGURED, EXIT_PROBLEMS
from support.canaries import Canaries
from support.command import Workspace, serving
from support.ports import reserve_port
from support.postgresql import Server
from support.seaweedfs import ACCESS_KEY, BUCKET, SeaweedFS
from support.waiting import wait_until

FORMATS = ["json", "console", "journal"]
LEVEL = 'level = "debug"'


@pytest.fixture
def canaries() -> Canaries:
    """Canaries, created when they are named."""
    return Canaries()


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A PostgreSQL server that requires passwords."""
    server = Server()
    server.start()
    yield f"127.0.0.1:{server.port}/postgres"
    server.remove()


def require_refused(canaries: Canaries, done: CompletedProcess[str]) -> None:
    """Check that a command failed with a reason and without secrets."""
    assert done.returncode in {EXIT_PROBLEMS, EXIT_MISCONFIGURED}
    assert done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert canaries.found_in(done.stdout, done.stderr) == set()


# ------------------------------------------------------------------------- stores and the catalog


@pytest.mark.parametrize("command", ["check-config", "serve", "reconcile"])
@pytest.mark.parametrize("access_key", [None, ACCESS_KEY])
def test_keys_that_a_bucket_refuses(
    canaries: Canaries,
    workspace: Workspace,
    s3: SeaweedFS,
    command: str,
    access_key: str | None,
) -> None:
    """An unknown key, or a wrong secret, from the environment."""
    workspace.write(_cloud(s3.endpoint))
    keys = {
        "IMAGED_STORES__CLOUD__ACCESS_KEY": access_key or canaries["access-key"],
        "IMAGED_STORES__CLOUD__SECRET_KEY": canaries["secret-key"],
    }
    require_refused(canaries, workspace.imaged(command, **keys))


def test_keys_in_files(canaries: Canaries, workspace: Workspace, s3: SeaweedFS) -> None:
    """Keys in files, one of which holds more than a key."""
    for name in ("access", "secret"):
        (workspace.folder / name).write_text(canaries[name])
    files = (
        f'access_key_file = "{workspace.folder}/access"\n'
        f'secret_key_file = "{workspace.folder}/secret"'
    )
    workspace.write(_cloud(s3.endpoint, files))
    require_refused(canaries, workspace.imaged("check-config"))

    (workspace.folder / "secret").write_text(f"{canaries['first']}\n{canaries['second']}\n")
    require_refused(canaries, workspace.imaged("check-config"))


def test_keys_in_the_usual_places(canaries: Canaries, workspace: Workspace, s3: SeaweedFS) -> None:
    """A malformed shared credentials file, which contains only the key, reveals nothing."""
    workspace.write(_cloud(s3.endpoint))
    shared = workspace.folder / "credentials"
    shared.write_text(f"[default]\n{canaries['shared']}\n = {canaries['shared']}\n")
    require_refused(
        canaries, workspace.imaged("check-config", AWS_SHARED_CREDENTIALS_FILE=str(shared))
    )
    keys = {
        "AWS_ACCESS_KEY_ID": canaries["aws-access"],
        "AWS_SECRET_ACCESS_KEY": canaries["aws-secret"],
        "AWS_SESSION_TOKEN": canaries["aws-session"],
    }
    require_refused(canaries, workspace.imaged("check-config", **keys))


def test_a_store_that_is_not_there(canaries: Canaries, workspace: Workspace) -> None:
    """The endpoint is closed, or speaks another protocol."""
    keys = {
        "IMAGED_STORES__CLOUD__ACCESS_KEY": canaries["access-key"],
        "IMAGED_STORES__CLOUD__SECRET_KEY": canaries["secret-key"],
    }
    workspace.write(_cloud("http://127.0.0.1:1", 'connect_timeout = "1s"'))
    done = workspace.imaged("check-config", **keys)
    require_refused(canaries, done)
    assert "'cloud'" in done.stderr
    assert "http://127.0.0.1:1" in done.stderr
    workspace.write(_cloud("https://127.0.0.1:1", f'ca_file = "{_key_file(workspace, canaries)}"'))
    require_refused(canaries, workspace.imaged("check-config", **keys))


@pytest.mark.parametrize("command", ["check-config", "serve", "status", "migrate"])
def test_a_password_that_the_database_refuses(
    canaries: Canaries, workspace: Workspace, database: str, command: str
) -> None:
    """A password in the URL, from the environment."""
    url = f"postgresql://imaged:{canaries['db-password']}@{database}"
    require_refused(canaries, workspace.imaged(command, IMAGED_CATALOG__URL=url))


def test_passwords_elsewhere(canaries: Canaries, workspace: Workspace, database: str) -> None:
    """A password in its own file, and in .pgpass."""
    url, file = f"postgresql://imaged@{database}", workspace.folder / "password"
    file.write_text(canaries["password-file"])
    require_refused(
        canaries,
        workspace.imaged(
            "check-config", IMAGED_CATALOG__URL=url, IMAGED_CATALOG__PASSWORD_FILE=str(file)
        ),
    )
    require_refused(
        canaries,
        workspace.imaged(
            "check-config", IMAGED_CATALOG__URL=url, PGPASSWORD=canaries["pgpassword"]
        ),
    )


# ------------------------------------------------------------------------------- the configuration

#: Invalid settings that are secrets or have one beside them.
WRONG = [
    '[catalog]\nurl = "postgresql://imaged:{secret}@db/imaged"',
    '[catalog]\nurl = "postgresql://db/imaged?password={secret}"',
    '[catalog]\nurl = "postgressql://imaged:{secret}@db/imaged"',
    '[catalog]\nurl = "postgresql://imaged:{secret}@db:port/imaged"',
    '[catalog]\nurl = "postgresql://imaged:{secret}@[db/imaged"',
    '[catalog]\nurl = ["postgresql://imaged:{secret}@db/imaged"]',
    '[catalog]\npassword = "{secret}"',
    '[stores.cloud]\ntype = "s3"\nbucket = "b"\nsecret_key = "{secret}"',
    '[stores.cloud]\ntype = "s3"\nbucket = "b"\nsecret_key = ["{secret}"]',
    '[stores.cloud]\ntype = "s3"\nbucket = "b"\naccess_key = "{secret}"',
    '[stores.cloud]\ntype = "s3"\nbucket = "b"\nendpoint = "http://me:{secret}@s3.example.net"',
    '[stores.cloud]\ntype = "s3"\nbucket = "b"\nendpoint = "me:{secret}@s3.example.net"',
    '[stores.cloud]\ntype = "s3"\nbucket = "b"\nsecretkey = "{secret}"',
    '[auth]\nmethod = "token"\ntoken = "{secret}"',
]


def test_secrets_in_reloaded_settings(canaries: Canaries, workspace: Workspace) -> None:
    """An invalid setting is reported by name, without its value: in the log of a daemon, and by
    commands.
    """
    with serving(workspace.file) as daemon:
        for number, more in enumerate(WRONG, start=1):
            daemon.wait_for("daemon.started")
            spoil(workspace, more.replace("{secret}", canaries[f"setting-{number}"]))
            daemon.reload()
            daemon.wait_for("config.rejected", number)
        log = daemon.log.read_text()
    for arguments in (["check-config", "--json"], ["serve"], ["status"]):
        require_refused(canaries, workspace.imaged(*arguments))

    assert canaries.found_in(log) == set()


def spoil(workspace: Workspace, more: str) -> None:
    """Replace the catalog's table."""
    head, _, rest = workspace.write(f"[log]\n{LEVEL}").read_text().partition("[catalog]")
    workspace.file.write_text(f"{head}[{rest.partition('[')[2]}\n{more}\n")


@pytest.mark.parametrize(
    "variable", ["IMAGED_CATALOG__URL", "IMAGED_STORES__CLOUD__ENDPOINT", "IMAGED_AUTH__METHOD"]
)
def test_secrets_in_the_environment(
    canaries: Canaries, workspace: Workspace, variable: str
) -> None:
    """Errors in the environment are reported without the value too."""
    workspace.write(_cloud("http://127.0.0.1:1"))
    value = f"postgressql://imaged:{canaries['variable']}@db:port/imaged"
    require_refused(canaries, workspace.imaged("check-config", **{variable: value}))


#: Invalid token files: they contain the token itself.
WRONG_TOKENS = [
    '[[token]]\nsha256 = "{secret}"\nuser = "a"\nproject = "p"\nroles = ["member"]',
    '[[token]]\ntoken = "{secret}"\nuser = "a"\nproject = "p"\nroles = ["member"]',
    '[[token]]\nsha256 = ["{secret}"]\nuser = "a"',
    "{secret}",
    '"{secret}',
    '[token]\n"{secret}" = "a"',
]


def test_secrets_in_the_file_of_tokens(canaries: Canaries, workspace: Workspace) -> None:
    """A token file is rejected at start and reload, without its content."""
    tokens = workspace.folder / "tokens.toml"
    tokens.write_text(_entry("right"))
    workspace.write(f'[auth]\nmethod = "token"\ntoken_file = "{tokens}"\n[log]\n{LEVEL}')
    with serving(workspace.file) as daemon:
        daemon.wait_for("daemon.started")
        for number, text in enumerate(WRONG_TOKENS, start=1):
            tokens.write_text(text.replace("{secret}", canaries[f"token-{number}"]))
            daemon.reload()
            daemon.wait_for("config.rejected", number)
        log = daemon.log.read_text()
    require_refused(canaries, workspace.imaged("serve"))

    assert canaries.found_in(log) == set()


# ------------------------------------------------------------------------------------ the requests


@pytest.mark.parametrize("output_format", FORMATS)
def test_what_clients_send(canaries: Canaries, workspace: Workspace, output_format: str) -> None:
    """Valid and invalid tokens, headers, signed links, refused requests and a crash."""
    port, tokens = reserve_port(), workspace.folder / "tokens.toml"
    tokens.write_text(_entry(canaries["good-token"]))
    figures = workspace.folder / "metrics.token"
    figures.write_text(canaries["authorization"])
    workspace.write(
        f'[auth]\nmethod = "token"\ntoken_file = "{tokens}"\n'
        f'[metrics]\nbind = ["api"]\ntoken_file = "{figures}"\n'
        f'[log]\n{LEVEL}\nformat = "{output_format}"'
    )
    workspace.file.write_text(workspace.file.read_text().replace(":0", f":{port}"))
    good = {
        "X-Auth-Token": canaries["good-token"],
        "Authorization": f"Bearer {canaries['authorization']}",
        "Cookie": f"session={canaries['cookie']}",
        "X-Service-Token": canaries["service-token"],
        "X-Subject-Token": canaries["subject-token"],
        "Proxy-Authorization": f"Basic {canaries['proxy']}",
    }
    wrote = {**good, "Content-Type": "application/json"}
    bad = {**good, "X-Auth-Token": canaries["bad-token"]}
    signed = f"X-Amz-Credential={canaries['credential']}&X-Amz-Signature={canaries['signature']}"
    with serving(workspace.file) as daemon:
        wait_until(lambda: "daemon.started" in daemon.log.read_text())
        answers = [
            ask(port, "POST", "/v2/images", wrote, b'{"disk_format": "raw"}'),
            ask(port, "GET", "/v2/images", bad),
            ask(port, "GET", f"/v2/images/nothing?{signed}", good),
            ask(port, "GET", f"/v2/images?marker={canaries['good-token']}", good),
            ask(port, "GET", f"/nowhere?token={canaries['query']}", good),
            ask(port, "PATCH", "/v2/images", good),
            ask(port, "POST", "/v2/images", wrote, b"{"),
            ask(port, "GET", "/readyz", good),
            ask(port, "GET", "/metrics", good),
        ]
        _spoil_images(workspace)
        answers.append(ask(port, "GET", "/v2/images", good))
        status = workspace.imaged("status", "--json")
        daemon.end()
        log = daemon.log.read_text()

    assert [code for code, _ in answers] == [201, 401, 404, 400, 404, 405, 400, 200, 200, 500]
    assert "request.failed" in log
    assert "Traceback" in log
    assert canaries.found_in(log, status.stdout, status.stderr) == set()
    assert canaries.found_in(*(body for _, body in answers)) == set()


def ask(
    port: int, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, bytes]:
    """Send a request, and return its answer with all headers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers.as_bytes() + answer.read()


def _spoil_images(workspace: Workspace) -> None:
    """Write an invalid record, so that reading it raises an internal error."""
    with closing(sqlite3.connect(workspace.catalog)) as db, db:
        db.execute("UPDATE images SET properties = '[1]'")


def _entry(token: str) -> str:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f'[[token]]\nsha256 = "{digest}"\nuser = "a"\nproject = "p"\nroles = ["member"]\n'


def _cloud(endpoint: str, more: str = "") -> str:
    return (
        f'[stores.cloud]\ntype = "s3"\nendpoint = "{endpoint}"\nbucket = "{BUCKET}"\n'
        f"attempts = 1\n{more}\n[log]\n{LEVEL}"
    )


def _key_file(workspace: Workspace, canaries: Canaries) -> Path:
    """A private key in the file for certificates."""
    file = workspace.folder / "key.pem"
    head, foot = (f"-----{word} PRIVATE KEY-----" for word in ("BEGIN", "END"))
    file.write_text(f"{head}\n{canaries['private-key']}\n{foot}\n")
    return file
