"""The log: its first fields, its secrets, and who else writes into it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as some

from imaged.telemetry import configure_log

log = structlog.get_logger()


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave the log of the test run as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers = handlers
    root.setLevel(level)


def logged(output: io.StringIO) -> list[dict[str, Any]]:
    """The lines, as the objects that they are."""
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_lines_begin_with_timestamp_level_and_event() -> None:
    """Whoever reads along sees when, how bad and what, and then the facts."""
    output = io.StringIO()
    configure_log("info", "auto", output)

    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        log.info("image.status", image_id="i-1")

    (line,) = logged(output)
    assert list(line) == ["timestamp", "level", "event", "image_id", "request_id"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["event"]) == ("info", "image.status")


def test_the_level_can_be_changed_while_loggers_exist() -> None:
    """A reload changes what comes next, also from modules that logged before."""
    output = io.StringIO()
    configure_log("warning", "json", output)
    log.info("first.told")
    configure_log("debug", "json", output)
    log.debug("second.told")

    assert [line["event"] for line in logged(output)] == ["second.told"]


@pytest.mark.parametrize("field", ["token", "auth_token", "secret", "password", "Authorization"])
@pytest.mark.parametrize("output_format", ["json", "console"])
def test_secrets_are_masked(field: str, output_format: Any) -> None:
    """No service logs one; should one ever try, nobody reads it."""
    output = io.StringIO()
    configure_log("info", output_format, output)
    log.info("secret.told", **{field: "canary"})

    assert "canary" not in output.getvalue()
    assert "***" in output.getvalue()


def test_tracebacks_show_no_values() -> None:
    """Local variables may be secrets."""
    output = io.StringIO()
    configure_log("info", "console", output)
    hidden = "can" + "ary"
    try:
        int(hidden[:3])
    except ValueError:
        log.exception("duty.crashed")

    assert "ValueError: " in output.getvalue()
    assert "canary" not in output.getvalue()


@given(some.text())
def test_no_text_breaks_a_line(text: str) -> None:
    """Names come from users; each event stays one line that can be read again."""
    output = io.StringIO()
    configure_log("info", "json", output)
    log.info("name.told", name=text)

    (line,) = output.getvalue().splitlines()
    assert text == json.loads(line)["name"]


@given(some.text())
def test_no_text_commands_a_terminal(text: str) -> None:
    """Control characters are made visible."""
    output = io.StringIO()
    configure_log("info", "console", output)
    log.info("name.told", name=text)

    (line,) = output.getvalue().splitlines()
    assert not any(letter in line for letter in "\x1b\r\x07\u202e\u2066\x9b")


def test_long_texts_are_cut() -> None:
    """A line stays a line, and a traceback stays whole."""
    output = io.StringIO()
    configure_log("info", "json", output)
    log.info("name.told", name="x" * 10_000, exception="y" * 10_000)

    (line,) = logged(output)
    assert line["name"] == "x" * 4_000 + "…"
    assert line["exception"] == "y" * 10_000


def test_libraries_write_through_the_same_door() -> None:
    """Their warnings and errors become events, and their chatter does not."""
    output = io.StringIO()
    configure_log("debug", "json", output)
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
    assert (odd["level"], odd["library"], odd["message"]) == (
        "warning",
        "some.library",
        "odd thing",
    )
    assert broken["level"] == "error"
    assert "ValueError: " in broken["exception"]
    assert "UserWarning: old" in old["message"]
