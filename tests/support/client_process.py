"""A client written in Python, that stays loaded: importing it takes longer than all it is to do.

Its standard input is a terminal, as for someone who types: a command-line client reads anything
else as the data of an image.
"""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.daemon import clean_environment
from support.orphans import END_WITH_PARENT

PROGRAM = Path(__file__).with_name("client_loop.py")
MOST_BYTES_OF_AN_ANSWER = 64 << 20


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    code: int
    output: str
    errors: str


@dataclass
class ClientProcess:
    """The process, and what it is told to do, one after the other."""

    process: asyncio.subprocess.Process
    orders: int
    told: list[str] = field(default_factory=list)

    async def command(
        self, entry: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Call the function ``entry`` of a client's script, as if a shell had these arguments."""
        order = {"command": entry, "arguments": arguments, "environment": environment or {}}
        answer = await self._ask(order)
        return Done(answer["code"], answer["output"], answer["errors"])

    async def run(self, statements: str, **variables: object) -> None:
        """Run statements of Python; what they name stays."""
        named = "".join(f"{name} = {value!r}\n" for name, value in variables.items())
        await self.value("None", statements=named + statements)

    async def value(self, expression: str, statements: str = "", **variables: object) -> Any:
        """The value of an expression of Python. An error there is an AssertionError here."""
        answer = await self._ask(
            {"expression": expression, "statements": statements, "variables": variables}
        )
        assert "error" not in answer, answer["trace"]
        return answer["value"]

    async def refusal(self, expression: str, **variables: object) -> str:
        """The error of an expression, which must have one."""
        answer = await self._ask({"expression": expression, "variables": variables})
        assert "error" in answer, answer
        error: str = answer["error"]
        return error

    async def _ask(self, order: Mapping[str, object]) -> dict[str, Any]:
        os.write(self.orders, json.dumps(order).encode() + b"\n")
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the client has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def client_process(python: Path, folder: Path) -> AsyncIterator[ClientProcess]:
    """Start one in a folder, which is also its home."""
    keyboard, terminal = os.openpty()
    reading, orders = os.pipe()
    with (folder / "client.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *END_WITH_PARENT, python, "-P", "-W", "ignore", PROGRAM, str(reading),
            cwd=folder,
            env=clean_environment() | {"HOME": str(folder)},
            pass_fds=(reading,),
            stdin=terminal, stdout=PIPE, stderr=log,
            limit=MOST_BYTES_OF_AN_ANSWER,
        )  # fmt: skip
    os.close(reading)
    try:
        yield ClientProcess(process, orders)
    finally:
        os.close(orders)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(keyboard)
        os.close(terminal)
