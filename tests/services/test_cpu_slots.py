"""The ingest pipeline in threads: hashing waits for a processor, passing bytes on does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from functools import partial

import anyio
import pytest

from imaged.core.block import Block
from imaged.core.disk_format import RAW, Findings
from imaged.core.image import Image
from imaged.lanes import CpuSlots, ThreadLane
from imaged.services.ingest_pipeline import IngestPipeline, IngestSettings
from support.settings import configured

pytestmark = pytest.mark.asyncio

PATIENCE = 10  # seconds until a test gives up


class Witness:
    """An inspector that notes when it is shown something."""

    def __init__(self) -> None:
        self.was_asked = threading.Event()

    def feed(self, chunk: bytes) -> None:
        """Note it."""
        del chunk
        self.was_asked.set()

    def findings(self) -> Findings:
        """Raw bytes."""
        return Findings(RAW, None)


async def test_bytes_pass_and_wait_for_a_processor_only_to_be_hashed() -> None:
    """Where all are taken, blocks still go on to the store, and are hashed when one is free."""
    witness = Witness()
    image = Image(id="i", owner="p", disk_format="raw", container_format="bare")
    slots, taken = CpuSlots(1, PATIENCE), ExitStack()
    lanes = partial(ThreadLane, slots=slots)
    stages = IngestPipeline(image, None, configured(IngestSettings), lambda: witness, lanes)
    with taken:
        taken.enter_context(slots.acquire())  # other uploads compute
        async with stages.running():
            passed = []
            with anyio.fail_after(PATIENCE):
                async for block in stages.check(_blocks()):
                    passed.append(block.size_bytes)
                    await asyncio.sleep(0.01)  # time to be hashed, were that allowed
                    if len(passed) == 2:
                        assert not witness.was_asked.is_set()
                        taken.close()

    assert passed == [1, 1]
    assert witness.was_asked.is_set()
    assert stages.content().checksum == "187ef4436122d1cc2f40dc2b92f0eba0"  # md5 of "ab"


async def _blocks() -> AsyncGenerator[Block]:
    for chunk in (b"a", b"b"):
        yield Block([chunk])
