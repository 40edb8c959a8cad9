"""A program that forks processes by the fork server, and prints what they are like as JSON.

``python -m support.forking_program``: a process of its own, because one with threads must not fork.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
from collections.abc import Sequence
from uuid import uuid4

import anyio

from imaged.daemon.processes.fork_server import ForkedProcess, ForkServer

EXIT_CODE = 7
CHILDREN = 2


def child(descriptors: Sequence[int]) -> int:
    """Tell of this process, and wait until the parent has read it."""
    end = socket.socket(fileno=descriptors[0])
    facts = {
        "random": random.random(),
        "uuid": str(uuid4()),
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208 - without that of the listing
        "given": len(descriptors),
        "waits for children": signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL,
    }
    end.send(json.dumps(facts).encode())
    end.recv(1)
    return EXIT_CODE


async def main(server: ForkServer, inherited: int) -> None:
    """Fork some processes; the last one is killed."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        told, forked = list[dict[str, object]](), list[ForkedProcess]()
        for number in range(CHILDREN):
            ours, theirs = socket.socketpair()
            process = await server.fork([theirs.fileno()])
            theirs.close()
            told.append(json.loads(await anyio.to_thread.run_sync(ours.recv, 4096)))
            if number == CHILDREN - 1:
                await server.kill(process, signal.SIGKILL)
            else:
                ours.send(b"!")
            await process.ended.wait()
            forked.append(process)
            await server.kill(process, signal.SIGKILL)  # it is gone: nothing happens
        tasks.cancel_scope.cancel()
    exit_codes = [process.exit_code for process in forked]
    print(json.dumps({"children": told, "exit_codes": exit_codes, "inherited": inherited}))  # noqa: T201 - the result


if __name__ == "__main__":
    inherited = os.open(os.devnull, os.O_RDONLY)
    server = ForkServer.start(child)
    anyio.run(main, server, inherited, backend="asyncio", backend_options={"use_uvloop": True})
    sys.stdout.flush()
