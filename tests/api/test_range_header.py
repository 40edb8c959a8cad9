"""The Range header."""

from __future__ import annotations

import pytest

from imaged.api.range_header import MAX_RANGE_DIGITS, parse_range
from imaged.core.byte_range import ByteRange
from imaged.core.errors import InvalidRequest
from support.service import Service

FAR = 10**MAX_RANGE_DIGITS
GOOD = [
    (None, None),
    ("bytes=0-0", ByteRange(0, 0)),
    ("bytes=1-2", ByteRange(1, 2)),
    ("bytes=5-", ByteRange(5, None)),
    ("bytes=-5", ByteRange(None, 5)),
    ("bytes=-0", ByteRange(None, 0)),
    ("bytes = 1 - 2", ByteRange(1, 2)),
    ("Bytes=0-4", ByteRange(0, 4)),
    ("bytes=,0-4 , ,", ByteRange(0, 4)),
    ("bytes=0-" + "9" * 30, ByteRange(0, FAR)),
    ("bytes=0-" + "0" * 30 + "4", ByteRange(0, 4)),
    ("bytes=" + "9" * 30_000 + "-", ByteRange(FAR, None)),
    ("bytes=-" + "9" * 30, ByteRange(None, FAR)),
    ("items=0-1", None),
    ("seconds=a-b", None),
    ("bytes=0-0,2-2", None),
]
BAD = [
    "",
    "bytes",
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=2-1",
    "bytes=--1",
    "bytes=1-2-3",
    "bytes=,",
    "bytes=1 2-3",
    "bytes=0x1-2",
    "bytes=\u0661-\u0662",
    "0-1",
]


@pytest.mark.parametrize(("header", "wanted"), GOOD)
def test_range_is_read(header: str | None, wanted: ByteRange | None) -> None:
    """One range of bytes is understood; other units and several ranges are ignored."""
    assert parse_range(header) == wanted


@pytest.mark.parametrize("header", BAD)
def test_range_is_refused(header: str) -> None:
    """What is no range of bytes is refused."""
    with pytest.raises(InvalidRequest, match="Range"):
        parse_range(header)


@pytest.mark.asyncio
async def test_condition_on_a_validator_that_we_never_gave(service: Service) -> None:
    """With If-Range the whole is sent: no validator of ours can match."""
    image_id = await service.create_active(b"hello")
    sent = {"range": "bytes=1-2", "if-range": '"x"'}
    reply = await service.call("GET", f"/v2/images/{image_id}/file", headers=sent)
    assert (reply.status, reply.body) == (200, b"hello")
