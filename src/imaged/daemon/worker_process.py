"""The process that runs tasks for a daemon that also answers requests.

The daemon starts it when a task waits. It has its own drivers and belongs to the same instance:
claims have the same name, and the daemon publishes the counts of both. It exits after it was idle
for a while, and when the channel to the daemon closes for any reason; it then releases its tasks,
and the attempt does not count.
"""

from __future__ import annotations

import faulthandler
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from importlib.metadata import version

import anyio
from anyio.abc import TaskGroup

from imaged.config import Config
from imaged.core.errors import ImagedError
from imaged.core.policy import Policy
from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import open_drivers
from imaged.daemon.keystone import reload_secrets
from imaged.daemon.process_counters import read_counters
from imaged.daemon.processes.channel import ChildChannel
from imaged.daemon.processes.messages import ChildFailure, Command, Reload, Report, Start
from imaged.metrics.child_counters import nonzero_samples
from imaged.metrics.instruments import Instruments
from imaged.process import lower_priority, tune_malloc
from imaged.services.periodic import Wakeup
from imaged.telemetry import configure_log

STDIN = 0
DAEMON_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
IDLE_EXIT_SECONDS = 300.0  # a start costs a second, an idle worker costs memory
REPORT_INTERVAL = timedelta(seconds=1)


def main(expected_version: str) -> None:
    """Run tasks for the daemon at the other end of standard input, whose version is expected."""
    for one in DAEMON_SIGNALS:
        signal.signal(one, _ignore_signal)
    faulthandler.enable()
    tune_malloc()
    end = socket.socket(fileno=STDIN)
    worker = WorkerProcess(expected_version, _set_up_process)
    anyio.run(worker.run, end, backend="asyncio", backend_options={"use_uvloop": True})


def _set_up_process(config: Config) -> None:
    """Configure the log, then lower the priority of this process."""
    configure_log(config.log.level, config.log.format)
    lower_priority()


class VersionMismatch(ImagedError):
    """The installed version is not the daemon's, so messages may have another meaning."""

    def __init__(self, found: str, expected_version: str) -> None:
        super().__init__(
            f"imaged {found} is installed, and the daemon that runs is still {expected_version}: "
            "restart it. Tasks wait until then."
        )


@dataclass(eq=False)
class WorkerProcess:
    """Runs tasks until it is idle or its daemon is gone.

    ``set_up``: called once with the daemon's configuration, before anything is opened, to turn
    the process into a background process. It exits ``idle_seconds`` after its last task.
    """

    expected_version: str
    set_up: Callable[[Config], None]
    _: KW_ONLY
    idle_seconds: float = IDLE_EXIT_SECONDS
    report_every: timedelta = REPORT_INTERVAL

    async def run(self, end: socket.socket) -> None:
        """Run tasks until the worker is idle or the daemon is gone."""
        self._channel = channel = await ChildChannel.from_socket(end)
        try:
            self._require_version()
            start = await channel.next_instruction()
            if isinstance(start, Start):
                await self._work(start)
        except ImagedError as error:
            await channel.send_report(ChildFailure(str(error)))
        await channel.close()

    def _require_version(self) -> None:
        found = version("imaged")
        if found != self.expected_version:
            raise VersionMismatch(found, self.expected_version)

    async def _work(self, start: Start) -> None:
        config = start.config
        self.set_up(config)
        instruments = Instruments(stores=list(config.stores.by_name), process="worker")
        async with open_drivers(config, instruments, is_child=True) as drivers:
            self._services = ServiceContainer(
                drivers, config, instruments, start.holder, Policy(start.rules)
            )
            self._services.use_schema(start.schema)
            self._registry = instruments.registry
            instruments.register_counters(lambda: read_counters(drivers, self._services))
            self._report_now = Wakeup()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._services.claims.renew_forever)
                tasks.start_soon(self._services.runner.serve)
                tasks.start_soon(self._report_until_idle, tasks)
                await self._follow_instructions(tasks)
                tasks.cancel_scope.cancel()
            await self._channel.send_report(self._report())

    async def _follow_instructions(self, tasks: TaskGroup) -> None:
        services = self._services
        while instruction := await self._channel.next_instruction():
            match instruction:
                case Command.CHECK_TASKS:
                    services.runner.wakeup.wake()
                    tasks.start_soon(services.claims.renew)  # stops tasks whose claim is lost
                case Command.REPORT:
                    self._report_now.wake()
                case Command.DRAIN:
                    services.runner.stop_claiming()
                case Reload(config, rules, schema):
                    services.apply(config, Policy(rules))
                    services.use_schema(schema)
                    reload_secrets(services.limits, config)  # its daemon could read them
                    configure_log(config.log.level, config.log.format)

    async def _report_until_idle(self, tasks: TaskGroup) -> None:
        idle_since = anyio.current_time()
        while anyio.current_time() - idle_since < self.idle_seconds:
            if self._services.runner.running:
                idle_since = anyio.current_time()
            await self._channel.send_report(self._report())
            await self._report_now.pause(self.report_every)
        tasks.cancel_scope.cancel()

    def _report(self) -> Report:
        return Report(list(self._services.runner.running), nonzero_samples(self._registry))


def _ignore_signal(number: int, frame: object) -> None:
    """Ignore a signal that a terminal or systemd sends to all processes: the daemon handles it and
    instructs the worker. With SIG_IGN instead, child processes would inherit the setting.
    """


if __name__ == "__main__":
    main(sys.argv[1])
