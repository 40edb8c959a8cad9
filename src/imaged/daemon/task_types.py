"""The task types of one process, built-in and from entry points, and what they depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

from imaged.config import Config
from imaged.conversion.qemu_img import QemuImg
from imaged.conversion.scratch import LocalScratch
from imaged.core.errors import ImagedError
from imaged.daemon import settings
from imaged.daemon.places import scratch_place
from imaged.fetchers.deferred_fetcher import DeferredFetcher
from imaged.inspectors.deferred_inspector import DeferredInspector
from imaged.ports.disk_image import ImportCheck
from imaged.ports.fetcher import Fetcher
from imaged.services.marked_places import MarkedScratch, PlaceRegistry
from imaged.services.tasks.context import StreamCheckFactory
from imaged.services.tasks.image_converter import ImageConverter
from imaged.services.tasks.task_type import (
    TASK_TYPE_GROUP,
    TaskResources,
    TaskType,
    TaskTypeRegistry,
)
from imaged.services.tasks.types.api_image_import import ImageImport
from imaged.services.tasks.types.clone import Clone, CloneCopier
from imaged.services.tasks.types.convert import Convert
from imaged.services.tasks.types.export import Export
from imaged.services.tasks.types.import_methods import (
    GLANCE_DIRECT,
    WEB_DOWNLOAD,
    ImportMethod,
    StagedBytes,
    WebDownload,
)
from imaged.services.tasks.types.import_task import ImportTask
from imaged.services.tasks.types.location_import import LocationImport
from imaged.services.tasks.types.remote_image import RemoteImageClient
from imaged.services.tasks.types.verify import Verify

IMPORT_CHECK_GROUP = "imaged.import_checks"


class TaskTypeRefused(ImagedError):
    """A task type of a deployer cannot be loaded."""

    needs_correction = True

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The task type of the entry point {name!r} cannot be used: {why}.")


def build_registry(resources: TaskResources) -> TaskTypeRegistry:
    """Build the registry of all task types. Raises TaskTypeRefused."""
    types = {kind.facts.name: kind for kind in _builtin_task_types(resources)}
    for point in _installed(TASK_TYPE_GROUP):
        kind: TaskType[Any] = _load(point, TaskTypeRefused, resources)
        if kind.facts.name in types:
            raise TaskTypeRefused(point.name, f"there is a type {kind.facts.name!r} already")
        types[kind.facts.name] = kind
    return TaskTypeRegistry(types.values())


def _builtin_task_types(resources: TaskResources) -> Iterator[TaskType[Any]]:
    """Yield the built-in task types."""
    fetcher, conversion, check_factory = (
        resources.fetcher,
        resources.conversion,
        resources.check_factory,
    )
    yield ImportTask(fetcher, conversion, check_factory)
    yield _clone(resources, RemoteImageClient(fetcher, check_factory))
    yield Convert(resources.catalog, resources.downloads, conversion)
    yield _export(resources)
    yield Verify(resources.catalog, resources.stores, resources.budget)
    yield image_import(resources)
    yield location_import(resources)


def image_import(resources: TaskResources) -> ImageImport:
    """Build the task type behind ``POST …/import``."""
    methods: dict[str, ImportMethod] = {
        GLANCE_DIRECT: StagedBytes(resources.stores),
        WEB_DOWNLOAD: WebDownload(resources.fetcher),
    }
    return ImageImport(methods, resources.stores, resources.check_factory)


def location_import(resources: TaskResources) -> LocationImport:
    """Build the task type behind ``POST …/locations``."""
    return LocationImport(resources.fetcher, resources.check_factory)


def _export(resources: TaskResources) -> Export:
    return Export(
        resources.catalog,
        resources.downloads,
        resources.conversion,
        resources.destinations,
        resources.budget,
    )


def _clone(resources: TaskResources, remote: RemoteImageClient) -> Clone:
    catalog, stores = resources.catalog, resources.stores
    return Clone(
        catalog,
        stores,
        CloneCopier(catalog, stores, resources.downloads, resources.check_factory),
        remote,
    )


class TaskDependencies:
    """Holds the fetcher, import checks, converter and scratch folder of tasks.

    Raises ImportCheckRefused, CertificatesRefused.
    """

    def __init__(
        self, config: Config, places: PlaceRegistry, max_size_bytes: Callable[[], int]
    ) -> None:
        self._converter = QemuImg(settings.qemu_img_settings(config))
        scratch = LocalScratch(settings.scratch_settings(config))
        self.scratch = MarkedScratch(scratch, scratch_place(config), places)
        self.fetcher = build_fetcher(config)
        self.check_factory = StreamCheckFactory(max_size_bytes, load_import_checks())
        self.conversion = ImageConverter(
            self.scratch, self._converter, DeferredInspector, self.check_factory
        )

    def apply(self, config: Config) -> None:
        """Apply the reloadable settings."""
        self._converter.settings = settings.qemu_img_settings(config)


def build_fetcher(config: Config) -> Fetcher:
    """Build the HTTP fetcher. Raises CertificatesRefused."""
    fetch = settings.fetch_settings(config)
    try:
        return DeferredFetcher(fetch)
    except OSError as error:  # includes SSLError
        raise settings.CertificatesRefused(fetch.ca_file, error) from error


class ImportCheckRefused(ImagedError):
    """An import check of a deployer cannot be loaded."""

    needs_correction = True

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The import check of the entry point {name!r} cannot be used: {why}.")


def load_import_checks() -> Sequence[ImportCheck]:
    """Return all installed checks, sorted by name. Raises ImportCheckRefused."""
    return [_load(point, ImportCheckRefused) for point in _installed(IMPORT_CHECK_GROUP)]


def _installed(group: str) -> Sequence[EntryPoint]:
    return sorted(_read_installed()[group], key=lambda point: point.name)


@cache
def _read_installed() -> Mapping[str, EntryPoints]:
    """Read the groups of imaged, once: this opens files of each installed package."""
    found = entry_points()
    return {group: found.select(group=group) for group in (TASK_TYPE_GROUP, IMPORT_CHECK_GROUP)}


def _load(point: EntryPoint, refused: Callable[[str, str], ImagedError], *arguments: object) -> Any:
    try:
        return point.load()(*arguments)
    except Exception as error:
        raise refused(point.name, f"{type(error).__name__}: {error}") from error
