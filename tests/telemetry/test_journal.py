"""The journal's native protocol on a real socket."""

from __future__ import annotations

import fcntl
import io
import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as some

from imaged.telemetry import configure_log, journald
from imaged.telemetry.log import log_to_journal_only
from imaged.telemetry.sanitize import visible
from support.log_capture import log_restored, logged

LARGEST = 1 << 20
BUFFER_BYTES = 16 * 1024  # of a sender with a small buffer
USUAL = {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "EVENT"}

Entry = dict[str, str]

log = structlog.get_logger()


class FakeJournal:
    """A fake journald that keeps the entries it receives."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(5)
        self.files = 0  # entries received as a memfd

    def entry(self) -> Entry:
        """Return the next entry."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, LARGEST, 1)
        for descriptor in descriptors:
            with os.fdopen(descriptor, "rb") as file:
                assert fcntl.fcntl(file, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
                file.seek(0)
                data = file.read()
            self.files += 1
        return parsed(data)

    def is_empty(self) -> bool:
        """Whether no entry is left."""
        return not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def parsed(data: bytes) -> Entry:
    """Parse the fields of an entry."""
    fields: Entry = {}
    while data:
        head, _, rest = data.partition(b"\n")
        name, is_short, value = head.partition(b"=")
        if is_short:
            data = rest
        else:
            (length,) = struct.unpack("<Q", rest[:8])
            value, data = rest[8 : 8 + length], rest[8 + length :]
            assert data[:1] == b"\n"
            data = data[1:]
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeJournal]:
    """A fake journal at the path that the log uses."""
    fake = FakeJournal(tmp_path / "socket")
    monkeypatch.setattr(journald, "SOCKET_PATH", str(tmp_path / "socket"))
    with log_restored():
        yield fake
    fake.close()


@pytest.fixture
def output(fake: FakeJournal) -> io.StringIO:
    """The standard error of a log that goes to the journal."""
    del fake
    output = io.StringIO()
    configure_log("debug", "journal", output)
    return output


def test_a_log_of_the_journal_only(
    fake: FakeJournal, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What an operator's command changes is told there, and nothing is printed, with a journal or
    without.
    """
    log_to_journal_only("info")
    log.info("image.scrubbed", image_id="i-1")
    assert fake.entry()["IMAGE_ID"] == "i-1"

    monkeypatch.setattr(journald, "SOCKET_PATH", "/nowhere")
    log.info("image.scrubbed", image_id="i-1")
    assert capfd.readouterr() == ("", "")


def test_an_entry_has_a_sentence_and_all_facts(fake: FakeJournal, output: io.StringIO) -> None:
    """`journalctl` shows the event, and `journalctl IMAGE_ID=…` finds it."""
    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        log.warning("image.deleted", image_id="i-1", reason="by its owner", count=3, stores=["a"])

    assert fake.entry() == {
        "MESSAGE": 'image.deleted image_id=i-1 reason="by its owner" count=3 stores="[\\"a\\"]" '
        "request_id=req-1",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "imaged",
        "EVENT": "image.deleted",
        "IMAGE_ID": "i-1",
        "REASON": "by its owner",
        "COUNT": "3",
        "STORES": '["a"]',
        "REQUEST_ID": "req-1",
    }
    assert fake.is_empty()
    assert output.getvalue() == ""


@pytest.mark.usefixtures("output")
@pytest.mark.parametrize(
    ("level", "priority"), [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3")]
)
def test_levels_are_priorities(fake: FakeJournal, level: str, priority: str) -> None:
    """Levels map to priorities, for `journalctl -p warning`."""
    getattr(log, level)("some.thing")

    assert fake.entry()["PRIORITY"] == priority


@pytest.mark.usefixtures("output")
def test_a_traceback_keeps_its_lines(fake: FakeJournal) -> None:
    """A traceback has its own field."""
    try:
        int("many")
    except ValueError:
        log.exception("duty.crashed", duty="scrubber")

    entry = fake.entry()
    assert entry["MESSAGE"] == "duty.crashed duty=scrubber"
    assert len(entry["EXCEPTION"].splitlines()) > 2
    assert "ValueError: " in entry["EXCEPTION"]


@pytest.mark.usefixtures("output")
def test_names_are_those_that_the_journal_takes(fake: FakeJournal) -> None:
    """Invalid names, which the journal drops silently, and reserved ones are changed."""
    facts = {"message": "m", "_pid": "p", "1st": "f", "a-b": "d", "x" * 99: "l", "é": "e"}
    log.info("some.thing", **facts)

    names = fake.entry().keys() - USUAL
    assert names == {"IMAGED_MESSAGE", "IMAGED__PID", "IMAGED_1ST", "A_B", "X" * 64, "IMAGED__"}


def test_a_large_entry_comes_as_a_sealed_file(
    fake: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries larger than a datagram are sent as a memfd."""

    class Narrow(socket.socket):
        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)

    monkeypatch.setattr(socket, "socket", Narrow)
    configure_log("info", "journal", io.StringIO())
    log.info("some.thing", texts=["x" * 4_000] * 50)
    log.info("other.thing")

    assert len(fake.entry()["TEXTS"]) > 50 * 4_000
    assert fake.files == 1
    assert fake.entry()["EVENT"] == "other.thing"
    assert fake.files == 1


def test_without_a_journal_nothing_is_lost(fake: FakeJournal, tmp_path: Path) -> None:
    """Without a journal, the log is JSON on standard error."""
    output = io.StringIO()
    (tmp_path / "socket").unlink()
    configure_log("info", "journal", output)
    log.info("some.thing", fact=1)

    (line,) = logged(output)
    assert list(line) == ["timestamp", "level", "event", "fact"]
    assert fake.is_empty()


def test_a_hanging_journal_blocks_no_caller(fake: FakeJournal, output: io.StringIO) -> None:
    """If the journal's queue is full, lines go to standard error after a timeout."""
    sent = 0
    while not output.getvalue():
        log.info("some.thing", number=(sent := sent + 1))
        assert sent < 10_000

    assert logged(output)[0]["number"] == sent
    assert fake.entry()["NUMBER"] == "1"


@pytest.mark.usefixtures("output")
def test_any_text_is_one_entry(fake: FakeJournal) -> None:
    """User-supplied names cannot add fields, break MESSAGE, or send control characters."""

    @given(some.text())
    @example('\nPRIORITY=0\n\r\x1b[2J\u202e\ud800"\\')
    def log_it(text: str) -> None:
        log.info("name.told", name=text, names=[text])

        entry = fake.entry()
        assert entry.keys() == {*USUAL, "NAME", "NAMES"}
        assert entry["NAME"] == visible(text)
        assert entry["PRIORITY"] == "6"
        assert not any(letter in "".join(entry.values()) for letter in "\n\r\x1b\u202e\x9b")
        assert fake.is_empty()

    log_it()
