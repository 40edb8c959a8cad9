"""Bodies of requests: slow ones, torn ones, and one that must not be read."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio

CHUNK = b"some data"  # repeats nothing, so that a rest is not like a beginning
END = b"!"  # the last byte of every whole body
BODY = CHUNK + END


async def send(chunks: int = 1, every: float = 0, chunk: bytes = CHUNK) -> AsyncGenerator[bytes]:
    """A body, as slow as you like."""
    for _ in range(chunks):
        yield chunk
        await anyio.sleep(every)
    yield END


async def send_broken(
    error: Exception, after: float = 0, chunk: bytes = CHUNK
) -> AsyncGenerator[bytes]:
    """A body that breaks off."""
    yield chunk
    await anyio.sleep(after)
    raise error


async def cut(data: bytes, chunk_bytes: int, every: float = 0) -> AsyncGenerator[bytes]:
    """A body in chunks of this size."""
    for start in range(0, len(data), chunk_bytes):
        yield data[start : start + chunk_bytes]
        await anyio.sleep(every)


async def unreadable_body() -> AsyncGenerator[bytes]:
    """A body that must not be read."""
    raise AssertionError("the body was read")
    yield b""
