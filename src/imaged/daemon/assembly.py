"""The services of one process, built from its configuration and its parts."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING
from uuid import uuid4

from imaged.config import Config
from imaged.core.claim import InstanceId
from imaged.core.summary import Instance
from imaged.daemon import settings, task_settings
from imaged.daemon.parts import Parts
from imaged.daemon.task_services import TaskMeans
from imaged.daemon.task_types import build_registry, image_import, location_import
from imaged.inspectors.oslo import OsloInspector
from imaged.lanes import QuietLane
from imaged.machine import read_uptime
from imaged.ports.catalog import Catalog
from imaged.ports.meter import Meter, tell_nobody
from imaged.sealing import FileSeal
from imaged.services.budget import Budget
from imaged.services.claims import Claims
from imaged.services.clock_guard import ClockGuard
from imaged.services.downloads import Downloads
from imaged.services.health import Health
from imaged.services.images import Images
from imaged.services.intake import Intake
from imaged.services.loops import Alarm
from imaged.services.postponed import Postponed, run_all
from imaged.services.presence import Presence
from imaged.services.reclaimer import Reclaimer
from imaged.services.reconcile import Reconcile
from imaged.services.scrubber import Scrubber
from imaged.services.tasks.desk import TaskDesk
from imaged.services.tasks.image_import import ImageImports
from imaged.services.tasks.location_import import LocationImports
from imaged.services.tasks.plugins import TaskServices
from imaged.services.tasks.runner import TaskRunner
from imaged.services.tasks.strange import StrangeTasks
from imaged.services.tasks.sweeping import Sweeper
from imaged.services.tasks.types import Registry
from imaged.services.traffic import Traffic

if TYPE_CHECKING:  # commands measure nothing, and do not load what would
    from imaged.metrics.instruments import Instruments


def build_images(catalog: Catalog, config: Config) -> Images:
    """The records of images."""
    return Images(catalog, settings.scrubber_settings(config), settings.record_limits(config))


def build_clock(catalog: Catalog, config: Config) -> ClockGuard:
    """What looks whether the catalog's clock can be believed."""
    longest_delay = settings.longest_delay(config)
    return ClockGuard(catalog, read_uptime, config.scrubber.max_clock_step, longest_delay)


def build_scrubber(parts: Parts, config: Config, clock: ClockGuard | None = None) -> Scrubber:
    """What deletes bytes."""
    return Scrubber(
        parts.catalog,
        parts.stores,
        settings.scrubber_settings(config),
        busy_for=config.claims.lease,
        clock=clock or build_clock(parts.catalog, config),
        quarantine=config.reconcile.quarantine,
    )


def build_desk(catalog: Catalog, config: Config) -> TaskDesk:
    """The desk of the operator, who looks at tasks and cancels them; he makes none."""
    claims = Claims(catalog, name_instance(config.daemon.name), settings.claim_settings(config))
    return TaskDesk(
        catalog,
        claims,
        Registry(),
        seal=FileSeal(task_settings.key_file(config)),
        bell=Alarm(),
        settings=task_settings.desk_settings(config),
        clock=build_clock(catalog, config),
    )


def build_reconcile(parts: Parts, config: Config) -> Reconcile:
    """What compares catalog and stores."""
    return Reconcile(parts.catalog, parts.stores, settings.reconcile_settings(config))


class Services:
    """What a daemon does its work with. ``instance``: whom it is a part of; default: a new one."""

    def __init__(
        self,
        parts: Parts,
        config: Config,
        instruments: Instruments | None = None,
        instance: InstanceId | None = None,
    ) -> None:
        catalog, kills = parts.catalog, settings.kills_uploads(config)
        self.instance = instance or name_instance(config.daemon.name)
        self.traffic = Traffic()
        self.duty_meter: Meter = tell_nobody
        self.task_meter: Meter = tell_nobody
        if instruments is not None:
            self.traffic.meter = instruments.transfers
            self.duty_meter = instruments.duties
            self.task_meter = instruments.tasks
        self.budget = Budget(config.uploads.transfer_budget)
        self.database = parts.database
        self.health = Health(parts.catalog, parts.stores)
        self.images = build_images(catalog, config)
        self.claims = Claims(
            catalog, self.instance, settings.claim_settings(config), kill_uploads=kills
        )
        self.presence = Presence(
            catalog,
            Instance(self.instance, version("imaged"), config.daemon.roles),
            config.claims.lease,
            lambda: self.troubles,
        )
        self.clock = build_clock(catalog, config)
        self.reclaimer = Reclaimer(
            catalog,
            clock=self.clock,
            lease=config.claims.lease,
            kill_uploads=kills,
            staged_time_to_live=config.uploads.staged_time_to_live,
            remember_broken=config.uploads.remember_broken,
        )
        self.scrubber = build_scrubber(parts, config, self.clock)
        self.reconcile = build_reconcile(parts, config)
        make_intake = partial(
            Intake,
            catalog,
            parts.stores,
            self.claims,
            settings.stage_settings(config),
            budget=self.budget,
            inspector=OsloInspector,
            traffic=self.traffic,
        )
        self.intake = make_intake()
        self.task_intake = make_intake(lanes=QuietLane)  # nobody waits for a task's bytes
        self.downloads = Downloads(
            catalog, parts.stores, self.budget, self.traffic, verify=config.downloads.verify
        )
        self._build_tasks(parts, config)

    def _build_tasks(self, parts: Parts, config: Config) -> None:
        """Raises TaskTypeRefused, ImportCheckRefused, CertificatesRefused."""
        self._means = means = TaskMeans(
            config, parts.places, lambda: self.intake.settings.max_size_bytes
        )
        services = TaskServices(
            parts.catalog,
            parts.stores,
            self.downloads,
            self.budget,
            means.fetcher,
            means.examiner,
            means.conversion,
            parts.destinations,
        )
        registry = build_registry(services)
        seal = FileSeal(task_settings.key_file(config))
        self.runner = TaskRunner(
            parts.catalog,
            self.claims,
            self.task_intake,
            registry,
            seal=seal,
            settings=task_settings.runner_settings(config),
            meter=self.task_meter,
        )
        self.desk = TaskDesk(
            parts.catalog,
            self.claims,
            registry,
            seal=seal,
            bell=self.runner.bell,
            take=self.runner.take,
            settings=task_settings.desk_settings(config),
            clock=self.clock,
        )
        self.strange_tasks = StrangeTasks(
            parts.catalog,
            registry,
            seal,
            self.clock,
            Postponed("task_expiry", parts.catalog.check),
            config.tasks.longest_pending,
        )
        accepts = parts.catalog, self.desk, self.runner.bell
        self.sweeper = Sweeper(parts.catalog, means.scratch, [*parts.destinations.values()])
        self.health.ailing = lambda: self.sweeper.troubles
        self.imports = ImageImports(*accepts, image_import(services))
        self.locations = LocationImports(*accepts, location_import(services))

    @property
    def postponed(self) -> Sequence[Postponed]:
        """What failed by itself, by duty."""
        return (
            self.reclaimer.postponed,
            self.scrubber.postponed,
            self.sweeper.postponed,
            self.strange_tasks.postponed,
            self.runner.postponed,
        )

    async def expire_tasks(self) -> None:
        """Remove the records of tasks whose time is over, and end those that nobody can begin."""
        await run_all(self.desk.expire_due, self.strange_tasks.run_due)

    @property
    def troubles(self) -> Sequence[str]:
        """What this instance has to tell an operator, in sentences; most often nothing."""
        put_off = [trouble for one in self.postponed for trouble in one.troubles]
        places = [f"{place}: {why}" for place, why in self.sweeper.troubles.items()]
        return [*self.clock.troubles, *places, *put_off]

    def apply(self, config: Config) -> None:
        """Go on with other settings: those that can be changed in a running process."""
        self.images.settings = self.scrubber.settings = settings.scrubber_settings(config)
        self.scrubber.quarantine = config.reconcile.quarantine
        self.clock.max_step = config.scrubber.max_clock_step
        self.clock.longest_delay = settings.longest_delay(config)
        self.images.limits = settings.record_limits(config)
        self.reconcile.settings = settings.reconcile_settings(config)
        self.claims.kill_uploads = self.reclaimer.kill_uploads = settings.kills_uploads(config)
        self.reclaimer.staged_time_to_live = config.uploads.staged_time_to_live
        self.reclaimer.remember_broken = config.uploads.remember_broken
        self.downloads.verify = config.downloads.verify
        self.intake.settings = self.task_intake.settings = settings.stage_settings(config)
        self._means.apply(config)
        self.desk.settings = task_settings.desk_settings(config)
        self.strange_tasks.longest_pending = config.tasks.longest_pending
        self.runner.settings = task_settings.runner_settings(config)


def name_instance(name: str) -> InstanceId:
    """Who this instance is: readable, and never the same as another one, also after a restart."""
    return InstanceId(f"{name or f'{socket.gethostname()}-{os.getpid()}'}-{uuid4().hex[:8]}")
