"""Builds the services of one process from its configuration and its drivers."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING
from uuid import uuid4

from imaged.config import Config
from imaged.core.block import TransferBudget
from imaged.core.claim import InstanceId
from imaged.core.image_schema import ImageSchema
from imaged.core.policy import DEFAULT_POLICY, Policy
from imaged.core.summary import Instance
from imaged.daemon import settings
from imaged.daemon.delegation import delegation
from imaged.daemon.drivers import Drivers
from imaged.daemon.fernet import FernetSecretBox
from imaged.daemon.instance_report import InstanceReporter
from imaged.daemon.task_types import TaskDependencies, build_registry, image_import, location_import
from imaged.inspectors.deferred_inspector import DeferredInspector
from imaged.lanes import BackgroundLane
from imaged.ports.catalog import Catalog
from imaged.ports.meter import Meter, ignore_measurement
from imaged.process import read_uptime
from imaged.services.account_reconciler import AccountReconciler
from imaged.services.claims import Claims
from imaged.services.clock_guard import ClockGuard
from imaged.services.downloads import Downloads
from imaged.services.event_delivery import EventDelivery
from imaged.services.health import Health, Heartbeat
from imaged.services.images import Images
from imaged.services.ingest import Ingester
from imaged.services.members import Members
from imaged.services.periodic import ItemBackoff, Wakeup, run_all_steps
from imaged.services.project_usage import ProjectUsage
from imaged.services.reclaimer import LeaseReclaimer
from imaged.services.reconciler import StoreReconciler
from imaged.services.scrubber import BlobScrubber
from imaged.services.sent_downloads import SentDownloads
from imaged.services.tasks.cleanup import LeftoverCleaner, UnrunnableTaskReaper
from imaged.services.tasks.runner import TaskRunner
from imaged.services.tasks.task_service import TaskService
from imaged.services.tasks.task_type import TaskResources, TaskTypeRegistry
from imaged.services.tasks.types.api_image_import import ImageImportService
from imaged.services.tasks.types.location_import import LocationImportService
from imaged.services.traffic import Traffic
from imaged.telemetry.outages import watch_receiver

if TYPE_CHECKING:  # commands measure nothing and do not load Prometheus
    from imaged.metrics.instruments import Instruments


def build_images(catalog: Catalog, config: Config) -> Images:
    """Build the service for image records."""
    return Images(catalog, settings.scrubber_settings(config), settings.record_limits(config))


def build_clock_guard(catalog: Catalog, config: Config) -> ClockGuard:
    """Build the guard that detects steps of the catalog's clock."""
    longest_delay = settings.longest_delay(config)
    return ClockGuard(catalog, read_uptime, config.scrubber.max_clock_step, longest_delay)


def build_scrubber(
    drivers: Drivers, config: Config, clock: ClockGuard | None = None
) -> BlobScrubber:
    """Build the scrubber, which deletes bytes."""
    return BlobScrubber(
        drivers.catalog,
        drivers.stores,
        settings.scrubber_settings(config),
        clock or build_clock_guard(drivers.catalog, config),
    )


def build_task_service(catalog: Catalog, config: Config) -> TaskService:
    """Build the task service of operators' commands, which list and cancel tasks only."""
    claims = Claims(catalog, _new_instance_id(config.daemon.name), settings.claim_settings(config))
    return TaskService(
        catalog,
        claims,
        TaskTypeRegistry(),
        seal=FernetSecretBox(settings.key_file(config)),
        wakeup=Wakeup(),
        settings=settings.task_service_settings(config),
        clock=build_clock_guard(catalog, config),
    )


def build_reconcile(drivers: Drivers, config: Config) -> StoreReconciler:
    """Build the reconciler, which compares catalog and stores."""
    return StoreReconciler(drivers.catalog, drivers.stores, settings.reconcile_settings(config))


class ServiceContainer:
    """Holds the services of one process. ``instance``: where it belongs; default: new."""

    def __init__(
        self,
        drivers: Drivers,
        config: Config,
        instruments: Instruments | None = None,
        instance: InstanceId | None = None,
        policy: Policy = DEFAULT_POLICY,
    ) -> None:
        catalog, kills = drivers.catalog, settings.kills_uploads(config)
        self.instance = instance or _new_instance_id(config.daemon.name)
        self.policy = policy
        self.traffic = Traffic()
        self.duty_meter: Meter = ignore_measurement
        self.task_meter: Meter = ignore_measurement
        self.delivery_meter: Meter = ignore_measurement
        if instruments is not None:
            self.traffic.meter = instruments.transfers
            self.duty_meter = instruments.duties
            self.task_meter = instruments.tasks
            self.delivery_meter = watch_receiver(instruments.deliveries)
        self.budget = TransferBudget(config.uploads.transfer_budget)
        self.database = drivers.database
        self.keystone = drivers.keystone
        self.health = Health(drivers.catalog, drivers.stores)
        self.reconcile = build_reconcile(drivers, config)
        self.reporter = InstanceReporter(self.health, self.reconcile)
        if instruments is not None:
            self.reporter.requests = lambda: instruments.requests.counts
        if drivers.keystone is not None:
            self.reporter.failing_parts.append(drivers.keystone.failing_part_seconds)
        self.images = build_images(catalog, config)
        self.members = Members(catalog, settings.member_settings(config))
        self.claims = Claims(
            catalog, self.instance, settings.claim_settings(config), kill_uploads=kills
        )
        self.heartbeat = Heartbeat(
            catalog,
            Instance(self.instance, version("imaged"), config.daemon.roles),
            config.claims.lease,
            lambda: self.troubles,
            self.reporter.report,
        )
        self.clock = build_clock_guard(catalog, config)
        self.reclaimer = LeaseReclaimer(
            catalog,
            clock=self.clock,
            lease=config.claims.lease,
            kill_uploads=kills,
            staged_time_to_live=config.uploads.staged_time_to_live,
            remember_broken=config.uploads.remember_broken,
        )
        self.scrubber = build_scrubber(drivers, config, self.clock)
        self.accounts = AccountReconciler(catalog)
        self.limits = drivers.limits
        self.usage = ProjectUsage(catalog, self.limits)
        make_ingest = partial(
            Ingester,
            catalog,
            drivers.stores,
            self.claims,
            settings.ingest_settings(config),
            budget=self.budget,
            inspector=DeferredInspector,
            traffic=self.traffic,
        )
        self.ingest = make_ingest()
        self.task_ingest = make_ingest(lanes=BackgroundLane)  # no client waits for a task's bytes
        self.downloads = Downloads(
            catalog,
            drivers.stores,
            self.budget,
            self.traffic,
            verify=config.downloads.verify,
            delegation=delegation(config),
        )
        self._catalog = catalog
        self.sent_downloads = SentDownloads(catalog)
        self.delivery = EventDelivery(
            catalog, settings.delivery_settings(config), self.clock, self.delivery_meter
        )
        self._build_tasks(drivers, config)

    def _build_tasks(self, drivers: Drivers, config: Config) -> None:
        """Raises TaskTypeRefused, ImportCheckRefused, CertificatesRefused."""
        self._task_dependencies = dependencies = TaskDependencies(
            config, drivers.places, lambda: self.ingest.settings.max_size_bytes
        )
        services = TaskResources(
            drivers.catalog,
            drivers.stores,
            self.downloads,
            self.budget,
            dependencies.fetcher,
            dependencies.check_factory,
            dependencies.conversion,
            drivers.destinations,
        )
        registry = build_registry(services)
        seal = FernetSecretBox(settings.key_file(config))
        self.runner = TaskRunner(
            drivers.catalog,
            self.claims,
            self.task_ingest,
            registry,
            seal=seal,
            settings=settings.runner_settings(config),
            policy=self.policy,
            meter=self.task_meter,
        )
        self.task_service = TaskService(
            drivers.catalog,
            self.claims,
            registry,
            seal=seal,
            wakeup=self.runner.wakeup,
            start_now=self.runner.start_now,
            settings=settings.task_service_settings(config),
            clock=self.clock,
        )
        self.unrunnable_tasks = UnrunnableTaskReaper(
            drivers.catalog,
            registry,
            seal,
            self.clock,
            ItemBackoff("task_expiry", drivers.catalog.check),
            config.tasks.longest_pending,
        )
        self.sweeper = LeftoverCleaner(
            drivers.catalog, dependencies.scratch, [*drivers.destinations.values()]
        )
        self.health.degraded_parts = lambda: [
            *self.sweeper.troubles,
            *self.reporter.failing_part_seconds(),
        ]
        self.imports = ImageImportService(self.task_service, image_import(services))
        self.locations = LocationImportService(self.task_service, location_import(services))

    @property
    def postponed(self) -> Sequence[ItemBackoff]:
        """The back-offs of single items, one for each job."""
        return (
            self.reclaimer.postponed,
            self.scrubber.postponed,
            self.sweeper.postponed,
            self.unrunnable_tasks.postponed,
            self.runner.postponed,
        )

    async def expire_tasks(self) -> None:
        """Remove expired task records, and fail pending tasks that no instance can run."""
        await run_all_steps(self.task_service.expire_due, self.unrunnable_tasks.run_due)

    @property
    def troubles(self) -> Sequence[str]:
        """Problems of this instance, as sentences for an operator; usually empty."""
        put_off = [trouble for one in self.postponed for trouble in one.troubles]
        places = [f"{place}: {why}" for place, why in self.sweeper.troubles.items()]
        of_others = [*self.delivery.troubles, *self.reporter.children_troubles()]
        return [*self.clock.troubles, *places, *put_off, *of_others]

    def apply(self, config: Config, policy: Policy) -> None:
        """Apply the reloadable settings, and these rules."""
        self.policy = self.runner.policy = policy
        self.images.settings = self.scrubber.settings = settings.scrubber_settings(config)
        self.clock.max_step = config.scrubber.max_clock_step
        self.clock.longest_delay = settings.longest_delay(config)
        self.limits.defaults = settings.default_limits(config)
        self.images.limits = settings.record_limits(config)
        self.members.settings = settings.member_settings(config)
        self.reconcile.settings = settings.reconcile_settings(config)
        self.claims.kill_uploads = self.reclaimer.kill_uploads = settings.kills_uploads(config)
        self.reclaimer.staged_time_to_live = config.uploads.staged_time_to_live
        self.reclaimer.remember_broken = config.uploads.remember_broken
        self.downloads.verify = config.downloads.verify
        self.downloads.delegation = delegation(config)
        self.ingest.settings = self.task_ingest.settings = settings.ingest_settings(config)
        self._task_dependencies.apply(config)
        self.task_service.settings = settings.task_service_settings(config)
        self.unrunnable_tasks.longest_pending = config.tasks.longest_pending
        self.runner.settings = settings.runner_settings(config)
        self._catalog.wanted_events = settings.wanted_events(config)
        self.delivery.settings = settings.delivery_settings(config)

    def use_schema(self, schema: ImageSchema) -> None:
        """Compare records with this schema from now on."""
        self.images.schema = self.task_service.schema = self.runner.schema = schema


def _new_instance_id(name: str) -> InstanceId:
    """Return a readable instance id, unique across instances and restarts."""
    return InstanceId(f"{name or f'{socket.gethostname()}-{os.getpid()}'}-{uuid4().hex[:8]}")
