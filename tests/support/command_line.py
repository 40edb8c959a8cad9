"""A command-line client of a cloud, and which of its commands were given to it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from support.client_process import ClientProcess, Done, client_process
from support.cloud import Cloud
from support.keystone import User


@dataclass
class CommandLine:
    """The client, in a process for each user: `openstack` keeps a session as long as it lives.

    ``entry`` is the function that its script calls, ``words`` are the first of each command.
    """

    cloud: Cloud
    python: Path
    entry: str
    running: AsyncExitStack
    words: Sequence[str] = ()
    known: Collection[str] = ()
    given: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    _processes: dict[str, ClientProcess] = field(default_factory=dict)

    async def help(self, arguments: str) -> str:
        """What the client says of itself."""
        return (await self._give(self.cloud.member, shlex.split(arguments))).output

    async def try_to(self, user: User, arguments: str) -> Done:
        """Give a command as this user, which may be refused."""
        self.given.add(self._command_of(arguments))
        return await self._give(user, [*self.words, *shlex.split(arguments)])

    async def run(self, user: User, arguments: str) -> str:
        """Give a command, which must succeed; what it says."""
        done = await self.try_to(user, arguments)
        log = self.cloud.daemon.log_text()[-4000:]
        assert done.code == 0, f"{arguments}: {done.errors}\n{log}"
        return done.output

    async def refusal(self, user: User, arguments: str) -> str:
        """Give a command, which must be refused; how."""
        done = await self.try_to(user, arguments)
        assert done.code != 0, f"{arguments}: {done.output}"
        self.refused.add(self._command_of(arguments))
        return done.errors

    def _command_of(self, arguments: str) -> str:
        return max((one for one in self.known if arguments.startswith(one)), key=len)

    async def _give(self, user: User, words: Sequence[str]) -> Done:
        if user.id not in self._processes:
            process = client_process(self.python, self.cloud.daemon.folder)
            self._processes[user.id] = await self.running.enter_async_context(process)
        variables = self.cloud.variables(user)
        return await self._processes[user.id].command(self.entry, *words, environment=variables)
