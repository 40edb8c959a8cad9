"""Signs requests as Standard Webhooks asks for, with every secret that is valid now.

The signature is the HMAC-SHA256 of ``ID.TIMESTAMP.BODY`` in base64, after ``v1,``. While receivers
change from one secret to another, each request bears a signature by both.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256

from imaged.core.secret import Secret

SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
MAX_SECRETS = 4  # more are not needed to replace one, and each makes the requests longer

_WRONG_SECRET = (
    f'must be "{SECRET_PREFIX}" and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64'
)


def parse_secrets(text: str) -> Sequence[Secret]:
    """The secrets of a text, separated by white space. Raises ValueError, without quoting one."""
    found = text.split()
    if not 1 <= len(found) <= MAX_SECRETS:
        message = f"there are {len(found)} secrets, and there must be 1 to {MAX_SECRETS}"
        raise ValueError(message)
    for number, one in enumerate(found, start=1):
        try:
            size_bytes = len(_key_of(one))
        except ValueError:
            size_bytes = 0
        if not (
            one.startswith(SECRET_PREFIX) and MIN_SECRET_BYTES <= size_bytes <= MAX_SECRET_BYTES
        ):
            message = f"secret {number} {_WRONG_SECRET}"
            raise ValueError(message)
    return [Secret(one) for one in found]


def signature_headers(
    secrets: Sequence[Secret], message_id: str, timestamp: int, body: bytes
) -> Mapping[str, str]:
    """The headers of a request. ``timestamp``: seconds since 1970 at the time of the request."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (hmac.digest(_key_of(one.reveal()), signed, sha256) for one in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{b64encode(one).decode()}" for one in signatures),
    }


def _key_of(secret: str) -> bytes:
    return b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
