"""The bench measures what it says: everything once, as little as possible, of real daemons."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Any

import pytest
from bench.__main__ import main
from bench.noise import Calibration, noise
from click.testing import CliRunner

from support.daemon import Daemon, clean_environment

ROOT = Path(__file__).parents[2]

MEASURED = {
    "start.start", "start.idle",
    "upload.speed", "upload.cpu", "upload.peak",
    "chunked.speed", "chunked.cpu", "chunked.peak",
    "hashing.sha256", "hashing.default", "hashing.ratio",
    "crowd.speed", "crowd.cpu", "crowd.peak",
    "download.speed", "download.cpu", "unverified.speed", "unverified.cpu",
    "bucket.idle", "bucket.put", "bucket.put_boto3", "bucket.put_obstore", "bucket.put_ratio",
    "bucket.put_cpu", "bucket.get", "bucket.get_boto3", "bucket.get_obstore", "bucket.get_ratio",
    "bucket.get_cpu", "bucket-crowd.speed", "bucket-crowd.cpu", "bucket-crowd.peak",
    "show.p50", "show.many",
    "signed-in.token", "signed-in.keystone", "signed-in.ratio",
    "records.pairs",
    "small.cycles", "small.p99",
    "load.p50", "load.p99", "load.speed",
    "tasks.idle_p50", "tasks.idle_p99", "tasks.p50", "tasks.p99", "tasks.ratio", "tasks.speed",
    "list.alone", "list.many", "deep.p50", "deep.depth",
    "scrub.images",
}  # fmt: skip
NEEDS_A_COMMAND = {"start.start", "start.idle", "scrub.images"}
NEEDS_AN_ORIGIN = {
    name
    for name in MEASURED
    if name.startswith(("tasks.", "signed-in.", "hashing.", "unverified.", "bucket"))
}
MAY_BE_NOTHING = {
    "upload.cpu",
    "chunked.cpu",
    "crowd.cpu",
    "download.cpu",
    "unverified.cpu",
    "bucket.get_cpu",
}  # so little is sent

pytestmark = pytest.mark.timeout(600)


def result(**taken: dict[str, list[float]]) -> dict[str, Any]:
    """The file of a run that took these figures (``upload__speed``)."""
    return {
        "at": "2026-01-01T00:00:00+00:00",
        "machine": "a machine",
        "names": {"first": "imaged", "second": "peer"},
        "sizes": {},
        "looks": [{"speeds": [400.0, 401.0, 402.0], "others": 0.0}],
        "taken": {name.replace("__", "."): values for name, values in taken.items()},
    }


def shown_by(*arguments: str) -> str:
    """What the bench prints."""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.asyncio
async def test_every_measure_is_taken_of_both_in_one_run(tmp_path: Path) -> None:
    """Of the daemon that the bench starts, and of one that is running already."""
    daemon, found = Daemon(tmp_path), tmp_path / "result.json"
    await daemon.start()
    try:
        assert daemon.process is not None
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench", "--toy", "--folder", tmp_path, "--json", found,
            "--against", daemon.url, "--against-pid", str(daemon.process.pid),
            "--against-header", "X-Auth-Token: unused",
            cwd=ROOT, env=clean_environment(), stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    finally:
        await daemon.end()
    taken = json.loads(found.read_text())["taken"]
    assert {name for name, values in taken.items() if "first" in values} == MEASURED
    second = {name for name, values in taken.items() if "second" in values}
    assert second == MEASURED - NEEDS_A_COMMAND - NEEDS_AN_ORIGIN
    for name, values in taken.items():
        for rounds in values.values():
            assert all(value > 0 or name in MAY_BE_NOTHING for value in rounds), name


def test_a_result_says_which_bars_are_met(tmp_path: Path) -> None:
    """Against the second endpoint, against the limit, and absolutely; medians count."""
    found = tmp_path / "result.json"
    taken = result(
        upload__speed={"first": [480.0, 500.0, 1.0], "second": [200.0], "limit": [600.0]},
        show__p50={"first": [0.4]},
        start__start={"first": [0.9], "second": [1.1]},
    )
    found.write_text(json.dumps(taken))

    shown = shown_by("--read", str(found))

    lines = {line.split("│")[1].strip(): line for line in shown.splitlines() if "│" in line}
    assert "2.4 ×" in lines["upload, Content-Length"]
    assert "80%" in lines["upload, Content-Length"]
    assert "yes, no" in lines["upload, Content-Length"]
    assert "yes" in lines["show, p50"]
    assert "1.22 ×" in lines["start to first answer"]
    assert "no" in lines["start to first answer"]


def test_a_result_is_compared_with_an_earlier_one(tmp_path: Path) -> None:
    """More is better for speeds, less for waits."""
    now, earlier = tmp_path / "now.json", tmp_path / "earlier.json"
    earlier.write_text(json.dumps(result(show__p50={"first": [0.8]}, show__many={"first": [100]})))
    now.write_text(json.dumps(result(show__p50={"first": [0.4]}, show__many={"first": [50]})))

    shown = shown_by("--read", str(now), "--compare", str(earlier)).splitlines()

    assert any("show, p50" in line and "2 ×" in line for line in shown)
    assert any("show, 16 at once" in line and "0.5 ×" in line for line in shown)


@pytest.mark.parametrize(
    ("speeds", "others", "word"),
    [
        ([400.0, 401.0], 0.0, "quiet"),
        ([400.0, 200.0], 0.0, "NOISY"),
        ([400.0, 401.0], 0.4, "NOISY"),
    ],
)
def test_a_noisy_run_says_so(speeds: list[float], others: float, word: str) -> None:
    """Whether speeds were spread, or other processes had the processors."""
    assert noise([Calibration(speeds, others)]).sentence.startswith(f"{word} machine")
