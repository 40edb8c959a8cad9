"""The settings of notifications, and what they build."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaged.config import Config
from imaged.core.notification import EventType
from imaged.daemon import settings
from imaged.daemon.drivers import WebhookSecretsInvalid, build_receiver
from imaged.daemon.settings import CertificatesRefused
from support.event_receiver import OTHER_SECRET, SECRET
from support.settings import DEFAULT_CONFIG, config_of, problems_of

URL = 'url = "https://billing.example.net/images?code=x"\n'


def of(folder: Path, text: str, **environment: str) -> Config:
    """A configuration with this section."""
    return config_of(folder, f"[notifications]\n{text}", **environment)


def with_secret(folder: Path, text: str, secret: str = SECRET) -> Config:
    """The same, with a receiver and a file of secrets."""
    file = folder / "secret"
    file.write_text(secret)
    return of(folder, f'{URL}secret_file = "{file}"\n{text}')


def test_without_a_url_nothing_is_recorded() -> None:
    """Nor sent."""
    assert settings.wanted_events(DEFAULT_CONFIG) == frozenset()
    assert build_receiver(DEFAULT_CONFIG) is None


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        ('["*"]', set(EventType)),
        (
            '["image.create", "task.*"]',
            {one for one in EventType if one.startswith("task.")} | {EventType.IMAGE_CREATE},
        ),
        ('["image.[cd]*"]', {EventType.IMAGE_CREATE, EventType.IMAGE_DELETE}),
    ],
)
def test_patterns_of_events(tmp_path: Path, patterns: str, wanted: set[EventType]) -> None:
    """Names, and patterns as of file names."""
    config = with_secret(tmp_path, f"events = {patterns}")
    assert settings.wanted_events(config) == wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (URL, "notifications.secret_file: must be set, because events that are sent to url"),
        ('url = "billing.example.net"', 'notifications.url: must be "" or begin with "http://"'),
        ('url = "ftp://host/"', 'notifications.url: must be "" or begin with "http://"'),
        ('url = "https://me:secret@host/"', "without a user"),
        ('url = "https://host/#here"', "without a user"),
        ('url = "https://ho st:x/"', 'notifications.url: must be ""'),
        ('events = ["image.created"]', "'image.created' names no event"),
        ("events = []", "notifications.events: must not be empty"),
        ('timeout = "201s"', "notifications.timeout: must be at most 200s"),
        ('timeout = "0"', "notifications.timeout: must be more than 0"),
        ('keep = "0"', "notifications.keep: must be more than 0"),
        ("max_waiting = 0", "notifications.max_waiting"),
        (f'secret = "{SECRET}"', "notifications.secret: is a secret"),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, problem: str) -> None:
    """Each is refused with what is allowed, and no secret is quoted."""
    (told,) = problems_of(tmp_path, f"[notifications]\n{text}")
    assert problem in told
    assert "secret@" not in told
    assert SECRET not in told


def test_secrets_of_the_environment(tmp_path: Path) -> None:
    """They override the file."""
    variable = {"IMAGED_NOTIFICATIONS__SECRET": f"{SECRET} {OTHER_SECRET}"}
    receiver = build_receiver(of(tmp_path, f'{URL}secret_file = "/nowhere"', **variable))
    assert receiver is not None
    assert receiver.where == "https://billing.example.net/images"
    assert [one.reveal() for one in receiver._settings.secrets] == [SECRET, OTHER_SECRET]


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "there are 0 secrets"),
        ("whsec_short", "secret 1 must be"),
        (b"\xff\xfe".decode("latin-1"), "secret 1 must be"),
    ],
)
def test_secrets_that_cannot_be_used(tmp_path: Path, secret: str, why: str) -> None:
    """The error names the file, and what belongs there; it does not quote what is there."""
    with pytest.raises(WebhookSecretsInvalid) as refused:
        build_receiver(with_secret(tmp_path, "", secret))
    assert f"The secrets in {tmp_path}/secret cannot be used: {why}" in str(refused.value)
    assert "short" not in str(refused.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Of secrets and of certificates."""
    with pytest.raises(WebhookSecretsInvalid, match="No such file or directory"):
        build_receiver(of(tmp_path, f'{URL}secret_file = "/nowhere"'))
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\xff")
    with pytest.raises(WebhookSecretsInvalid, match="it is no text"):
        build_receiver(of(tmp_path, f'{URL}secret_file = "{file}"'))
    with pytest.raises(CertificatesRefused, match="/nowhere"):
        build_receiver(with_secret(tmp_path, 'ca_file = "/nowhere"'))


def test_who_publishes(tmp_path: Path) -> None:
    """The instance, unless it is configured."""
    text = f'[daemon]\nname = "a"\n[notifications]\n{URL}'
    here = build_receiver(config_of(tmp_path, text, IMAGED_NOTIFICATIONS__SECRET=SECRET))
    assert here is not None
    assert here._settings.publisher_id == "image.a"
    other = build_receiver(with_secret(tmp_path, 'publisher_id = "image.cloud"'))
    assert other is not None
    assert other._settings.publisher_id == "image.cloud"
