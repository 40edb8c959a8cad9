"""The types of tasks of one process: those that are built in, and those that a deployer added."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

from imaged.core.errors import ImagedError
from imaged.services.tasks.clone import Clone
from imaged.services.tasks.clone_between import Copying
from imaged.services.tasks.clone_remote import RemoteImages
from imaged.services.tasks.convert import Convert
from imaged.services.tasks.export import Export
from imaged.services.tasks.image_from_web import ImageFromWeb
from imaged.services.tasks.image_import import ImageImport
from imaged.services.tasks.import_methods import STAGED, WEB, ImportMethod, StagedBytes, WebDownload
from imaged.services.tasks.location_import import LocationImport
from imaged.services.tasks.plugins import GROUP, MakeTaskType, TaskServices
from imaged.services.tasks.types import Registry, TaskType
from imaged.services.tasks.verify import Verify


class TaskTypeRefused(ImagedError):
    """A type of tasks that a deployer added cannot be used. Says which, and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The task type of the entry point {name!r} cannot be used: {why}.")


def build_registry(services: TaskServices) -> Registry:
    """All types. Raises TaskTypeRefused."""
    types = {kind.facts.name: kind for kind in built_in(services)}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        kind = _load(point.name, point.load, services)
        if kind.facts.name in types:
            raise TaskTypeRefused(point.name, f"there is a type {kind.facts.name!r} already")
        types[kind.facts.name] = kind
    return Registry(types.values())


def built_in(services: TaskServices) -> Iterator[TaskType[Any]]:
    """What comes with imaged: one line for each."""
    fetcher, conversion, examiner = services.fetcher, services.conversion, services.examiner
    yield ImageFromWeb(fetcher, conversion, examiner)
    yield _clone(services, RemoteImages(fetcher, examiner))
    yield Convert(services.catalog, services.downloads, conversion)
    yield _export(services)
    yield Verify(services.catalog, services.stores, services.budget)
    yield image_import(services)
    yield location_import(services)


def image_import(services: TaskServices) -> ImageImport:
    """Behind ``POST …/import``."""
    methods: dict[str, ImportMethod] = {
        STAGED: StagedBytes(services.stores),
        WEB: WebDownload(services.fetcher),
    }
    return ImageImport(methods, services.stores, services.examiner)


def location_import(services: TaskServices) -> LocationImport:
    """Behind ``POST …/locations``."""
    return LocationImport(services.fetcher, services.examiner)


def _export(services: TaskServices) -> Export:
    return Export(
        services.catalog,
        services.downloads,
        services.conversion,
        services.destinations,
        services.budget,
    )


def _clone(services: TaskServices, remote: RemoteImages) -> Clone:
    catalog, stores = services.catalog, services.stores
    return Clone(
        catalog, stores, Copying(catalog, stores, services.downloads, services.examiner), remote
    )


def _load(name: str, load: Any, services: TaskServices) -> TaskType[Any]:
    try:
        make: MakeTaskType = load()
        return make(services)
    except Exception as error:
        raise TaskTypeRefused(name, f"{type(error).__name__}: {error}") from error
