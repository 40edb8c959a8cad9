"""The log: first fields, redaction, and records of libraries."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as some

from imaged.telemetry import configure_log
from imaged.telemetry.log import choose_format
from support.log_capture import log_restored, logged

log = structlog.get_logger()

#: Texts that must not reach a terminal.
COMMANDS = {chr(code) for code in range(0x20)} | {
    *"\x7f\x9b\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ufeff",
    *"\U000e0001\U000e0041\U000e007f",
}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Restore the log configuration of the test run."""
    with log_restored():
        yield


def output_of(level: Any = "info", output_format: Any = "json") -> io.StringIO:
    """Configure the log; what it writes from now on."""
    output = io.StringIO()
    configure_log(level, output_format, output)
    return output


def crash(error: Exception) -> None:
    """Log an error as periodic jobs do."""
    log.error("duty.crashed", exc_info=error)


def test_lines_begin_with_timestamp_level_and_event() -> None:
    """Timestamp, level and event come first, then the facts; those that are None are dropped."""
    output = output_of(output_format="auto")

    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        log.info("image.created", image_id="i-1", from_status=None)

    (line,) = logged(output)
    assert list(line) == ["timestamp", "level", "event", "image_id", "request_id"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["event"]) == ("info", "image.created")


def test_the_level_can_be_changed_while_loggers_exist() -> None:
    """A reload changes the level of later events, from modules that logged before too."""
    output = output_of("warning")
    log.info("first.told")
    configure_log("debug", "json", output)
    log.debug("second.told")

    assert [line["event"] for line in logged(output)] == ["second.told"]


@pytest.mark.parametrize("field", ["token", "auth_token", "secret", "password", "Authorization"])
@pytest.mark.parametrize("output_format", ["json", "console"])
def test_secrets_are_masked(field: str, output_format: Any) -> None:
    """A secret in an event is redacted."""
    output = output_of(output_format=output_format)
    log.info("secret.told", **{field: "canary"})

    assert "canary" not in output.getvalue()
    assert "***" in output.getvalue()


def test_tracebacks_show_no_values() -> None:
    """Tracebacks have no local variables, which may be secrets."""
    output = output_of(output_format="console")
    hidden = "can" + "ary"
    try:
        int(hidden[:3])
    except ValueError:
        log.exception("duty.crashed")

    assert "ValueError: " in output.getvalue()
    assert "canary" not in output.getvalue()


@given(some.text())
@example("\r\n{}")
def test_no_text_breaks_a_line(text: str) -> None:
    """User-supplied names keep an event on one parseable line."""
    output = output_of()
    log.info("name.told", name=text, names=[text, {text: text}])

    (line,) = output.getvalue().splitlines()
    assert line.isascii()
    assert json.loads(line)["name"] == text
    assert json.loads(line)["names"] == [text, {text: text}]


@given(some.text())
@example("\x1b[2J\r\x07\u202e\u2066\x9b\u2028\ud800\U000e0041")
def test_no_text_commands_a_terminal(text: str) -> None:
    """Control characters, of Unicode too, are escaped in texts, lists and tracebacks. No line of
    theirs looks like the beginning of an event.
    """
    output = output_of(output_format="console")
    log.info("name.told", name=text, names=[text, {text: text}])

    _, *rest = output.getvalue().splitlines()
    assert not COMMANDS & set(output.getvalue().replace("\n", ""))
    assert all(line.startswith("    ") for line in rest)
    output.getvalue().encode()


def test_no_text_forges_a_line_in_a_traceback() -> None:
    """Lines of an error are indented, so none looks like a log line."""
    output = output_of(output_format="console")
    crash(ValueError("\x1b[2J\n2026-11-20T00:00:00Z [info     ] daemon.stopped"))

    first, *rest = output.getvalue().splitlines()
    assert "duty.crashed" in first
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in output.getvalue()


def test_long_texts_are_cut() -> None:
    """Long texts are cut; a traceback keeps its end, and a list its beginning."""
    output = output_of()
    log.info(
        "name.told",
        name="x" * 10_000,
        exception="a" + "y" * 40_000,
        names=["z" * 10_000] * 1_000,
    )

    (line,) = logged(output)
    assert line["name"] == "x" * 4_000 + "…"
    assert line["exception"] == "…" + "y" * 32_000
    assert line["names"] == ["z" * 4_000 + "…"] * 100


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach postgresql://imaged:canary@db/imaged",
        "cannot reach postgresql://imaged:ca/na:ry@canary@db/imaged",
        "http://canary@s3.example.net/bucket",
        "GET /b/k?X-Amz-Credential=canary%2F1&X-Amz-Signature=canary HTTP/1.1",
        "GET /b/k?AWSAccessKeyId=canary&Signature=canary&Expires=1",
        "{'X-Auth-Token': 'canary', 'Accept': '*/*'}",
        "Authorization: AWS4-HMAC-SHA256 Credential=canary/1, Signature=canary",
        "X-Service-Token=canary",
        "used Bearer canary",
    ],
)
@pytest.mark.parametrize("output_format", ["json", "console"])
def test_secrets_are_masked_in_texts(text: str, output_format: Any) -> None:
    """Passwords in URLs, signatures and headers are redacted, in lists and tracebacks too."""
    output = output_of(output_format=output_format)
    log.info("text.told", text=text, texts=[{"text": text}])
    crash(OSError(text))

    assert "canary" not in output.getvalue()
    assert output.getvalue().count("***") >= 3


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:9000/images/ab/key",
        "postgresql://imaged@db.example.net:5432/imaged",
        "Run `imaged token`; the token file /etc/imaged/tokens.toml cannot be read.",
    ],
)
def test_other_values_stay(text: str) -> None:
    """Addresses and remedies are kept, because operators need them."""
    output = output_of()
    log.info("text.told", text=text)

    (line,) = logged(output)
    assert line["text"] == text


def test_auto_is_json_or_colours_on_a_terminal() -> None:
    """JSON is the default for a file or a pipe."""
    assert choose_format("auto", io.StringIO()) == "json"
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as terminal:
        assert choose_format("auto", terminal) == "console"


def test_auto_is_the_journal_where_systemd_reads_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JOURNAL_STREAM counts only if standard error is still that stream."""
    with (tmp_path / "stream").open("w") as stream, (tmp_path / "file").open("w") as file:
        place = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{place.st_dev}:{place.st_ino}")
        assert choose_format("auto", stream) == "journal"
        assert choose_format("auto", file) == "json"
        assert choose_format("json", stream) == "json"


def test_libraries_write_through_the_same_door() -> None:
    """Warnings and errors of libraries become events; lower levels do not."""
    output = output_of("debug")
    library = logging.getLogger("some.library")
    library.info("chatter")
    library.warning("odd %s", "thing")
    try:
        int("many")
    except ValueError:
        library.exception("broken")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)

    odd, broken, old = logged(output)
    assert {odd["event"], broken["event"], old["event"]} == {"library.reported"}
    assert (odd["level"], odd["library"]) == ("warning", "some.library")
    assert (odd["said"], broken["level"]) == ("odd thing", "error")
    assert "ValueError: " in broken["exception"]
    assert "UserWarning: old" in old["said"]
