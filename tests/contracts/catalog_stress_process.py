"""A process that runs random operations on a catalog for a while; an error ends it with a
traceback.

python catalog_stress_process.py URL NAME SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))

from contracts.catalog_stress import StressClient
from imaged.catalogs.connect import open_catalog
from imaged.telemetry import configure_log

CLIENTS = 4


async def main(url: str, name: str, seconds: float) -> None:
    """Open the catalog, run operations, and print how many were done."""
    configure_log("error")  # the number is all that is on stdout
    catalog = await open_catalog(url)
    until = time.monotonic() + seconds
    storms = [StressClient(catalog, f"{name}{number}") for number in range(CLIENTS)]

    async def rage(storm: StressClient) -> None:
        while time.monotonic() < until:
            await storm.step()

    try:
        await asyncio.gather(*[rage(storm) for storm in storms])
    finally:
        await catalog.close()
    sys.stdout.write(f"{sum(storm.done for storm in storms)}\n")


async def hammer(url: str, processes: int = 3, seconds: float = 2) -> None:
    """Run several of them at once; none may fail, or do nothing."""

    async def run(name: str) -> int:
        command = [sys.executable, __file__, url, name, str(seconds)]
        return int((await anyio.run_process(command, stderr=None)).stdout)

    done = await asyncio.gather(*[run(f"process{number}") for number in range(processes)])
    assert min(done) > 0


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]))
