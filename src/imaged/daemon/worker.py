"""The process that works on tasks for a daemon that also answers requests.

The daemon starts it when a task waits. It has parts of its own, and is the same instance: claims
bear the same name, and the daemon tells what both have counted. It ends when nothing was to be done
for a while, and when it hears no more of the daemon, however that ended; what is under way is given
back then, and the attempt does not count.
"""

from __future__ import annotations

import faulthandler
import signal
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version

import anyio
from anyio.abc import TaskGroup

from imaged.allocation import tune_allocation
from imaged.config import Config
from imaged.core.errors import ImagedError
from imaged.daemon.assembly import Services
from imaged.daemon.counting import tally_of
from imaged.daemon.orders import Begin, Call, Line, Reload, Report, Trouble
from imaged.daemon.parts import open_parts
from imaged.metrics.instruments import Instruments
from imaged.metrics.relay import counts_of
from imaged.priority import go_later
from imaged.services.loops import Alarm
from imaged.telemetry import configure_log

STDIN = 0
THE_DAEMONS_ALONE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
IDLE_SECONDS = 300.0  # to start costs a second, and to stay costs memory
REPORT_EVERY = timedelta(seconds=1)


def main(wanted: str) -> None:
    """Work for the daemon at the other end of standard input, which is of this version."""
    for one in THE_DAEMONS_ALONE:
        signal.signal(one, _let_pass)
    faulthandler.enable()
    tune_allocation()
    end = socket.socket(fileno=STDIN)
    worker = Worker(wanted, _settle)
    anyio.run(worker.run, end, backend="asyncio", backend_options={"use_uvloop": True})


def _settle(config: Config) -> None:
    """Have this process work in the background. Its log comes first, which tells of the rest."""
    configure_log(config.log.level, config.log.format)
    go_later()


class Upgraded(ImagedError):
    """The daemon is older than the files of its program, and its words may mean something else."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(
            f"imaged {found} is installed, and the daemon that runs is still {wanted}: restart it. "
            "Tasks wait until then."
        )


class Worker:
    """One life of it.

    ``settle`` is called once, with the configuration that the daemon sent, before anything is
    opened, and makes the whole process one that works in the background.
    """

    def __init__(self, wanted: str, settle: Callable[[Config], None]) -> None:
        self._wanted = wanted
        self._settle = settle

    async def run(self, end: socket.socket) -> None:
        """Work until there is nothing to do, or nobody to do it for."""
        self._line = line = await Line.adopt(end)
        try:
            self._require_version()
            begin = await line.next_order()
            if isinstance(begin, Begin):
                await self._work(begin)
        except ImagedError as error:
            await line.tell(Trouble(str(error)))
        await line.close()

    def _require_version(self) -> None:
        found = version("imaged")
        if found != self._wanted:
            raise Upgraded(found, self._wanted)

    async def _work(self, begin: Begin) -> None:
        config = begin.config
        self._settle(config)
        instruments = Instruments(stores=list(config.stores.by_name))
        async with open_parts(config, instruments, some_may_be_down=True) as parts:
            self._services = Services(parts, config, instruments, begin.instance)
            self._registry = instruments.registry
            instruments.count(lambda: tally_of(parts, self._services))
            self._report_now = Alarm()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._services.claims.renew_forever)
                tasks.start_soon(self._services.runner.serve)
                tasks.start_soon(self._report_until_idle, tasks)
                await self._obey(tasks)
                tasks.cancel_scope.cancel()
            await self._line.tell(self._report())

    async def _obey(self, tasks: TaskGroup) -> None:
        services = self._services
        while order := await self._line.next_order():
            match order:
                case Call.LOOK:
                    services.runner.bell.ring()
                    tasks.start_soon(services.claims.renew)  # what is no longer held is stopped
                case Call.REPORT:
                    self._report_now.ring()
                case Call.FINISH:
                    services.runner.stop_picking()
                case Reload(config):
                    services.apply(config)
                    configure_log(config.log.level, config.log.format)

    async def _report_until_idle(self, tasks: TaskGroup) -> None:
        idle_since = anyio.current_time()
        while anyio.current_time() - idle_since < IDLE_SECONDS:
            if self._services.runner.running:
                idle_since = anyio.current_time()
            await self._line.tell(self._report())
            await self._report_now.pause(REPORT_EVERY)
        tasks.cancel_scope.cancel()

    def _report(self) -> Report:
        return Report(list(self._services.runner.running), counts_of(self._registry))


def _let_pass(number: int, frame: object) -> None:
    """A signal that a terminal or a service manager sends to every process of ours: the daemon
    heeds it, and we hear what follows. Ignored ones would be inherited by the programs we start.
    """


if __name__ == "__main__":
    main(sys.argv[1])
