"""A bit rots under a real daemon, in a folder and in a bucket: it never leaves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import aiohttp
import pytest

from imaged.core.integrity import BLOCK_BYTES
from support.backend import FolderBackend, ServersBackend
from support.client import Client
from support.daemon import Daemon
from support.metrics_socket import figures, metrics_settings
from support.task_client import TaskClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

DATA = os.urandom(2 * BLOCK_BYTES + 9)


def ranged(start: int, end: int) -> dict[str, dict[str, str]]:
    """The options of a request for these bytes."""
    return {"headers": {"Range": f"bytes={start}-{end - 1}"}}


async def received(url: str, path: str) -> tuple[int, bytes]:
    """The status of a download, and what came before its end or its break."""
    data = b""
    async with aiohttp.ClientSession(url) as session, session.get(path) as answer:
        try:
            async for chunk in answer.content.iter_any():
                data += chunk
        except aiohttp.ClientPayloadError:
            return answer.status, data
    raise AssertionError("it looked as if it were whole")


async def test_no_byte_of_a_wrong_block_leaves(
    backend: FolderBackend | ServersBackend, tmp_path: Path
) -> None:
    """Good blocks do. A download breaks off before the wrong one, or is an error with a sentence.
    The image is marked until its bytes are right again and verified.
    """
    nobody_dies = {"lease": "60s", "renew_every": "10s"}
    told = metrics_settings(tmp_path)
    daemon = Daemon(tmp_path, {"claims": nobody_dies, "metrics": told}, on=backend)
    await daemon.start()
    try:
        async with Client(daemon.url) as client:
            image_id = await client.create()
            assert await client.put(image_id, DATA) == 204
            (key,) = await backend.keys()
            await backend.flip(key, BLOCK_BYTES + 5)
            path = f"/v2/images/{image_id}/file"

            good = ranged(0, 100)
            assert await client.request("GET", path, **good) == (206, DATA[:100])
            assert await received(daemon.url, path) == (200, DATA[:BLOCK_BYTES])
            wrong = ranged(2 * BLOCK_BYTES - 1, 2 * BLOCK_BYTES)
            status, text = await client.request("GET", path, **wrong)
            assert status == 500
            assert b"The data of the image is damaged. In the store" in text
            end = ranged(2 * BLOCK_BYTES, len(DATA))
            assert await client.request("GET", path, **end) == (206, DATA[2 * BLOCK_BYTES :])

            assert "have the CRC-32C" in (await client.show(image_id))["imaged_damage"]
            assert (await figures(tmp_path))["imaged_damaged_images"] == 1
            events = [line["event"] for line in daemon.events()]
            assert events.count("image.damaged") == 1
            assert events.count("answer.broken_off") == 1

            await backend.flip(key, BLOCK_BYTES + 5)
            task = await TaskClient(client).do("verify", image_id=image_id)
            assert task["result"]["healthy"] is True
            assert "imaged_damage" not in await client.show(image_id)
            assert await client.request("GET", path) == (200, DATA)
    finally:
        await daemon.end(signal.SIGTERM)
