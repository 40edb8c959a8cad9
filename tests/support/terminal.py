"""A terminal on which someone types: OpenStack's clients may take another input for data."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from support.daemon import clean_environment


async def on_a_terminal(
    command: str, folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """Type a command in a folder, which is also its home: the exit code, and what it shows."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    keyboard, terminal = os.openpty()
    try:
        process = await asyncio.create_subprocess_shell(
            command,
            env={**clean_environment(), **(environment or {}), "PATH": path, "HOME": str(folder)},
            cwd=folder,
            stdin=terminal,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    finally:
        os.close(keyboard)
        os.close(terminal)
    return process.returncode, output.decode()
