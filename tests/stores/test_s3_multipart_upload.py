"""Parts in flight, and the handling of those that fail."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, NoReturn

import pytest

from imaged.core.errors import StoreError
from imaged.stores.s3.contents import CompletedPart
from imaged.stores.s3.multipart_upload import PartUploads

pytestmark = pytest.mark.asyncio


async def fail(number: int) -> NoReturn:
    """Fails as a part does when the server disappears."""
    raise StoreError("local", f"lost part {number}")


async def succeed(number: int) -> CompletedPart:
    """Stores the part."""
    return {"PartNumber": number}


async def test_each_part_that_fails_is_awaited() -> None:
    """The first error is raised, and asyncio reports none of the others as never retrieved."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: reported.append(told))
    flight = PartUploads("local")
    for _ in range(3):
        flight.launch(fail, 1)

    with pytest.raises(StoreError, match="lost part 1"):
        await flight.settle()
    await flight.cancel()
    del flight
    gc.collect()

    assert reported == []


async def test_no_part_is_in_flight_after_a_cancel() -> None:
    """It is waited for, also where its end takes a while: otherwise it would follow the abort."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang(_number: int) -> CompletedPart:
        try:
            begun.set()
            return {"PartNumber": await asyncio.Future()}
        finally:
            await asyncio.to_thread(int)
            ended.set()

    flight = PartUploads("local")
    flight.launch(hang, 1)
    await begun.wait()

    await flight.cancel()

    assert ended.is_set()


async def test_no_number_is_used_twice() -> None:
    """A server may keep the first bytes of a part, or the last."""
    flight = PartUploads("local")
    for _ in range(5):
        flight.launch(succeed, 1)
    await flight.settle()

    assert [part["PartNumber"] for part in flight.stored()] == [1, 2, 3, 4, 5]
