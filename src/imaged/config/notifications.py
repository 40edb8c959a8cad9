"""``[notifications]``: who is told of changes, and how long it is tried."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, model_validator

from imaged.config.sections import Section, secret, setting
from imaged.config.types import (
    Concurrency,
    NonEmptyTuple,
    PositiveDuration,
    PositiveInt,
    SecretText,
    WrongSetting,
)
from imaged.core.notification import matching_events
from imaged.core.outbox import LONGEST_WAIT


def _check_url(text: str) -> str:
    if not text:
        return text
    from yarl import URL  # lazy: only configurations with a receiver need it

    try:
        url = URL(text)
    except ValueError:
        url = URL()
    is_good = url.scheme in {"http", "https"} and bool(url.host) and not url.fragment
    if not is_good or url.user is not None or url.password is not None:
        raise ValueError(
            'must be "" or begin with "http://" or "https://" and a host, without a user or a "#": '
            "receivers know by the signature who sends"
        )
    return text


def _check_pattern(pattern: str) -> str:
    if not matching_events(pattern):
        raise ValueError(
            f'{pattern!r} names no event: must be a name such as "image.create", or a pattern '
            'such as "task.*"'
        )
    return pattern


ReceiverUrl = Annotated[str, AfterValidator(_check_url)]
EventPattern = Annotated[str, AfterValidator(_check_pattern)]


class NotificationsSection(Section):
    """Events for other services, such as indexers and billing, as requests to a URL."""

    url: ReceiverUrl = setting(
        "",
        "Where each event is sent, as a CloudEvent in a POST request. Redirects are not followed. "
        "A reload logs it, so it should have no secret: the signature says who sends. "
        '"": no events are recorded or sent.',
        reloadable=True,
    )
    secret_file: str = setting(
        "",
        "The file with the secret that signs events, as Standard Webhooks write it: whsec_…; or "
        "with two, each in a line, while the receiver changes to a new one.",
        reloadable=True,
    )
    secret: SecretText | None = secret(
        "The secrets themselves, separated by spaces; they override secret_file."
    )
    ca_file: str = setting(
        "",
        "A file with the certificates of authorities to trust, in PEM. Default: those of the "
        "system.",
        reloadable=True,
    )
    events: NonEmptyTuple[EventPattern] = setting(
        ["*"],
        'Which events are sent: names and patterns, such as ["image.*", "task.failure"]. '
        "image.send is one for each download.",
        reloadable=True,
    )
    publisher_id: str = setting(
        "",
        'The publisher_id in events. Default: "image." and the name of this instance or host.',
        reloadable=True,
    )
    timeout: PositiveDuration = setting(
        "10s",
        "How long the receiver may take to answer. The events that a killed instance was sending "
        "wait three times as long.",
        reloadable=True,
    )
    keep: PositiveDuration = setting(
        "7d",
        "How long an event is tried. Then it is dropped, with an error in the log.",
        reloadable=True,
    )
    max_waiting: PositiveInt = setting(
        1_000_000,
        "How many events may wait for the receiver, at about 1 KiB in the catalog each; more push "
        "out the oldest, with an error in the log.",
        reloadable=True,
    )
    concurrency: Concurrency = setting(
        8,
        "How many images' events an instance sends at a time. Those of one image are sent one "
        "after the other.",
        reloadable=True,
    )
    poll_every: PositiveDuration = setting(
        "1s", "How often an instance looks for events that wait.", reloadable=True
    )

    @model_validator(mode="after")
    def _require_signature(self) -> NotificationsSection:
        if 3 * self.timeout > LONGEST_WAIT:
            raise WrongSetting("timeout", "must be at most 200s")
        if self.url and not (self.secret or self.secret_file):
            raise WrongSetting(
                "secret_file", "must be set, because events that are sent to url are signed"
            )
        return self
