"""Many pending images, several scrubbers, a delay that is lowered, and an operator who restores."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from support.behind import bytes_in_store, keys_in_ledger
from support.client import Client
from support.daemon import IMAGED, Daemon, clean_environment, until

IMAGES = 1000
KEPT = 20  # images that nobody deletes
WANTED = 40  # images that an operator tries to restore while they are scrubbed

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


async def test_a_lowered_delay_frees_everything_and_touches_nothing_else(tmp_path: Path) -> None:
    """1,000 pending images, SIGHUP, three scrubbers: none left; restored is whole, or 409."""
    daemon = Daemon(tmp_path, {"scrubber": {"delay": "24h", "every": "300ms"}})
    scrubbers = []
    try:
        await daemon.start()
        async with Client(daemon.url) as client:
            kept = await upload_many(client, KEPT)
            doomed = await upload_many(client, IMAGES)
            await delete_all(client, doomed)
            assert len(await pending(daemon)) == IMAGES

            daemon.configure(scrubber={"delay": "0"})
            scrubbers = [await start_scrubber(daemon, number) for number in range(2)]
            daemon.reload()
            restored = await restore_some(daemon, doomed[-WANTED:])

            async def all_gone() -> bool:
                return not await pending(daemon) and not await keys_awaiting(daemon, client)

            await until(all_gone, "the scrubbers left something", within_seconds=90)
            alive = {image["id"] for image in await client.list_all()}
            assert alive == set(kept) | restored
            for image_id in alive:
                assert (
                    await client.digest(image_id) == (await client.show(image_id))["os_hash_value"]
                )
            assert {key[3:39] for key in bytes_in_store(daemon)} == alive
    finally:
        for scrubber in scrubbers:
            scrubber.send_signal(signal.SIGTERM)
            assert await scrubber.wait() == 0
        await daemon.end()
    lines = daemon.log_text() + "".join(
        (tmp_path / f"scrubber{number}.log").read_text() for number in range(2)
    )
    troubles = [line for line in lines.splitlines() if '"level": "error"' in line]
    assert not troubles
    assert "config.reloaded" in lines


async def upload_many(client: Client, count: int) -> list[str]:
    """So many small active images."""
    limiter = asyncio.Semaphore(16)

    async def one(number: int) -> str:
        async with limiter:
            image_id = await client.create(name=f"image {number}")
            assert await client.put(image_id, b"%d " % number * 100) == 204
            return image_id

    return list(await asyncio.gather(*(one(number) for number in range(count))))


async def delete_all(client: Client, image_ids: list[str]) -> None:
    """Delete them, several at a time."""
    limiter = asyncio.Semaphore(16)

    async def one(image_id: str) -> None:
        async with limiter:
            assert await client.delete(image_id) == 204

    await asyncio.gather(*(one(image_id) for image_id in image_ids))


async def pending(daemon: Daemon) -> list[dict[str, object]]:
    """What ``imaged pending`` lists."""
    code, output, errors = await daemon.command("pending", "--json")
    assert code == 0, errors
    listed: list[dict[str, object]] = json.loads(output)
    return listed


async def keys_awaiting(daemon: Daemon, client: Client) -> set[str]:
    """Rows of the ledger that belong to no living image."""
    alive = {image["id"] for image in await client.list_all()}
    return {key for key in await keys_in_ledger(daemon) if key[3:39] not in alive}


async def restore_some(daemon: Daemon, image_ids: list[str]) -> set[str]:
    """Try to take some back; those that came."""
    restored = set()
    for image_id in image_ids:
        code, _, errors = await daemon.command("restore", image_id)
        if code == 0:
            restored.add(image_id)
        else:
            assert "cannot be restored" in errors
    return restored


async def start_scrubber(daemon: Daemon, number: int) -> asyncio.subprocess.Process:
    """``imaged scrub``, beside the daemon."""
    with (daemon.folder / f"scrubber{number}.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            IMAGED, "scrub", "--config", str(daemon.config),
            env=clean_environment(), stdout=log, stderr=log,
        )  # fmt: skip
