"""Log lines for people."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from imaged.telemetry.console import WIDTH, ConsoleFormat, fold

ID = "4f0c91a2-1111-4222-8333-444455556666"
HEAD = "Nov 20 12:00:05 error    request.failed      "
SENTENCE = (
    "The store 'local' has too little room at /var/lib/imaged/images: 12 MiB would be left, and "
    "1024 MiB must stay free (min_free)."
)
CONTEXT = {"request_id": f"req-{ID}", "peer": "10.0.0.7", "user_id": "alice", "project_id": "p1"}


def lines_of(colors: bool = False, **facts: Any) -> list[str]:
    """The lines of an event."""
    event = {"timestamp": "2026-11-20T12:00:05.123456Z", "level": "error", "event": "a.happened"}
    return ConsoleFormat(colors=colors)(None, "error", {**event, **facts}).splitlines()


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({}, [HEAD]),
        ({"status": 503, "store": "local"}, [f"{HEAD} status=503 store=local"]),
        ({"bytes": 5, "image_id": ID}, [f"{HEAD} image_id=4f0c91a2 bytes=5"]),
        (
            {**CONTEXT, "bytes": 5},
            [f"{HEAD} bytes=5 user_id=alice project_id=p1 peer=10.0.0.7"],
        ),
        ({**CONTEXT, "user_id": "a" * 60}, [f"{HEAD} project_id=p1 peer=10.0.0.7"]),
        ({"why": "", "key": f"ab/{ID}"}, [f'{HEAD} why="" key=ab/{ID}']),
        ({"task_id": ID, "seconds": 0.25}, [f"{HEAD} task_id=4f0c91a2 seconds=0.25"]),
        (
            {"error": SENTENCE, "image_id": ID},
            [
                f'{HEAD} image_id=4f0c91a2 error="{SENTENCE[:25]}',
                f"    {SENTENCE[26:114]}",
                '    (min_free)."',
            ],
        ),
        ({"path": "x" * 150}, [HEAD, f"    path={'x' * 91}", f"    {'x' * 59}"]),
    ],
)
def test_what_matters_comes_first(facts: dict[str, Any], lines: list[str]) -> None:
    """The subject, then the fields of the event, all of them, and the context while it fits."""
    assert fold(HEAD, facts) == lines


@given(some.dictionaries(some.sampled_from(["error", "image_id", "peer", "names"]), some.text()))
def test_no_line_is_wider(facts: dict[str, str]) -> None:
    """Whatever the fields are."""
    assert all(len(line) <= WIDTH for line in fold(HEAD, facts))


def test_time_level_and_event_begin_the_line() -> None:
    """Local time in seconds; a traceback follows in lines of its own."""
    first, second = lines_of(image_id=ID, exception="    Traceback …")

    assert re.match(r"Nov (20|21|19) \d\d:\d\d:05 error    a\.happened           image_id=", first)
    assert second == "    Traceback …"


def test_colors_change_no_text() -> None:
    """They are there on a terminal alone, and a line without them is the same."""
    plain, colored = lines_of(error=SENTENCE), lines_of(colors=True, error=SENTENCE)

    assert "\x1b" in colored[0]
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in colored] == plain
