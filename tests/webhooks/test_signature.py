"""Signatures are those of Standard Webhooks; its own library verifies them."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from imaged.core.secret import Secret
from imaged.webhooks.signature import MAX_SECRETS, parse_secrets, signature_headers
from support.event_receiver import OTHER_SECRET, SECRET

BODY = b'{"specversion":"1.0"}'
KEYS = st.binary(min_size=24, max_size=64)


def now() -> int:
    """Seconds since 1970."""
    return int(datetime.now(UTC).timestamp())


def secret_of(key: bytes) -> str:
    """A secret as operators write it."""
    return f"whsec_{b64encode(key).decode()}"


@given(KEYS, st.uuids(), st.dictionaries(st.text(), st.text()))
@pytest.mark.rule("notifications.6")
def test_the_library_of_receivers_accepts_signatures(
    key: bytes, message_id: object, content: dict[str, str]
) -> None:
    """For any secret, id and body."""
    body = json.dumps(content).encode()
    headers = signature_headers(parse_secrets(secret_of(key)), str(message_id), now(), body)
    assert Webhook(secret_of(key)).verify(body, dict(headers)) == content


@pytest.mark.parametrize("known", [SECRET, OTHER_SECRET])
@pytest.mark.rule("notifications.6")
def test_a_request_is_signed_by_every_secret(known: str) -> None:
    """So a receiver may change to a new one at any time, and to the old one back."""
    headers = signature_headers(parse_secrets(f"{SECRET}\n{OTHER_SECRET}\n"), "id", now(), BODY)
    assert len(headers["webhook-signature"].split(" ")) == 2
    Webhook(known).verify(BODY, dict(headers))


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "body"])
def test_a_signature_covers_all(part: str) -> None:
    """The id, the time and the body: whatever is changed, it is refused."""
    headers = dict(signature_headers([Secret(SECRET)], "id", now(), BODY))
    if part != "body":
        headers[part] = str(now() - 1) if part == "webhook-timestamp" else "another"
    body = BODY if part != "body" else BODY + b" "
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, headers)


def test_a_known_signature() -> None:
    """As the library makes it."""
    moment = datetime(2026, 11, 30, 16, 0, tzinfo=UTC)
    headers = signature_headers([Secret(SECRET)], "msg_1", int(moment.timestamp()), BODY)
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1796054400",
        "webhook-signature": Webhook(SECRET).sign("msg_1", moment, BODY.decode()),
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there are 0 secrets, and there must be 1 to 4"),
        ("\n \n", "there are 0 secrets"),
        (" ".join([SECRET] * (MAX_SECRETS + 1)), "there are 5 secrets"),
        (SECRET.removeprefix("whsec_"), 'secret 1 must be "whsec_" and 24 to 64 bytes in base64'),
        (f"{SECRET} whsec_short", "secret 2 must be"),
        (secret_of(b"x" * 23), "secret 1 must be"),
        (secret_of(b"x" * 65), "secret 1 must be"),
        (f"{SECRET}!", "secret 1 must be"),
        ("whsec_" + "ä" * 40, "secret 1 must be"),
    ],
)
def test_what_is_no_secret(text: str, why: str) -> None:
    """The error says which one, and never quotes it."""
    with pytest.raises(ValueError, match="secret") as refused:
        parse_secrets(text)
    assert why in str(refused.value)
    assert "whsec_c2" not in str(refused.value)
    assert "short" not in str(refused.value)


@pytest.mark.parametrize("size_bytes", [24, 64])
def test_the_sizes_of_secrets(size_bytes: int) -> None:
    """From the shortest to the longest that the standard allows."""
    (secret,) = parse_secrets(secret_of(b"x" * size_bytes))
    assert secret.reveal() == secret_of(b"x" * size_bytes)
    assert "whsec" not in repr(secret)
