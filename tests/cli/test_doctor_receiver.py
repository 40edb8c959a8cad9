"""``imaged doctor`` and ``imaged check-config`` on the receiver of notifications."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from imaged.cli.doctor import Level
from imaged.cli.doctor.receiver import check_receiver
from imaged.cli.doctor.waiting_events import check_waiting
from imaged.config import Config
from imaged.core.notification import image_notifications
from imaged.core.outbox import OutboxEvent
from imaged.daemon.preflight import find_file_problems
from support.event_receiver import SECRET, WebhookServer
from support.sample_images import NOW, queued
from support.settings import DEFAULT_CONFIG, config_of

pytestmark = pytest.mark.asyncio


def config(folder: Path, url: str, secret: str = SECRET) -> Config:
    """A configuration with this receiver."""
    file = folder / "secret"
    file.write_text(secret)
    return config_of(folder, f'[notifications]\nurl = "{url}"\nsecret_file = "{file}"\n')


async def found(config: Config) -> list[tuple[Level, str]]:
    """How bad it is, and what was found."""
    return [(one.level, one.what) async for one in check_receiver(config)]


async def test_a_receiver_is_asked_and_sent_nothing(tmp_path: Path) -> None:
    """It is named without the query of its URL."""
    async with WebhookServer().running() as server:
        ((level, what),) = await found(config(tmp_path, server.url))
        assert [one.headers.get("webhook-id") for one in server.received] == [None]
    assert level is Level.OK
    assert what == (
        f"The receiver, http://127.0.0.1:{server.port}/events, answers an OPTIONS request with "
        "204 No Content."
    )


async def test_a_receiver_that_is_away_is_a_warning(tmp_path: Path) -> None:
    """A daemon works without it, and events wait."""
    ((level, what),) = await found(config(tmp_path, "http://127.0.0.1:1/?code=hidden"))
    assert level is Level.WARNING
    assert "http://127.0.0.1:1/, cannot be reached" in what
    assert "hidden" not in what


async def test_secrets_that_cannot_be_read_are_a_problem(tmp_path: Path) -> None:
    """A daemon does not start with them, and both commands say so."""
    wrong = config(tmp_path, "http://127.0.0.1:1/", secret="nonsense")
    ((level, what),) = await found(wrong)
    (problem,) = find_file_problems(wrong)
    assert level is Level.PROBLEM
    assert problem.key == "notifications.secret_file"
    assert what == problem.what
    assert "secret 1 must be" in what


async def test_an_instance_that_sends_nothing_needs_no_secret(tmp_path: Path) -> None:
    """Only those with the role scrubber send."""
    wrong = config(tmp_path, "http://127.0.0.1:1/", secret="nonsense")
    assert not [*find_file_problems(wrong.with_roles(["api"]))]


async def test_the_oldest_event_says_why_it_waits() -> None:
    """Unless it was not tried yet."""
    waits = OutboxEvent(UUID(int=1), image_notifications(None, queued())[0], NOW)
    assert not [*check_waiting([waits])]
    assert not [*check_waiting([])]
    refused = replace(waits, failures=3, last_error="answered 422 Unprocessable Entity")
    (finding,) = check_waiting([refused, waits])
    assert finding.level is Level.WARNING
    assert finding.what == (
        f"The oldest event that waits, image.create of images/{queued().id}, failed 3 times: the "
        "receiver answered 422 Unprocessable Entity."
    )


async def test_without_a_receiver_there_is_nothing_to_check() -> None:
    """No line."""
    assert not await found(DEFAULT_CONFIG)
