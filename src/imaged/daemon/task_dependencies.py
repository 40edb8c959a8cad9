"""Builds what task types depend on, and applies configuration changes to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imaged.config import Config
from imaged.conversion.qemu_img import QemuImg
from imaged.conversion.scratch import LocalScratch
from imaged.core.errors import ImagedError
from imaged.core.place_marker import PlaceKind
from imaged.daemon import settings
from imaged.daemon.task_types import load_import_checks
from imaged.fetchers.http_fetcher import HttpFetcher
from imaged.inspectors.oslo_inspector import OsloInspector
from imaged.ports.fetcher import Fetcher
from imaged.ports.place import MarkedPlace
from imaged.services.marked_places import MarkedScratch
from imaged.services.place_registry import PlaceRegistry
from imaged.services.stream_checks import StreamCheckFactory
from imaged.services.tasks.image_converter import ImageConverter
from imaged.stores.filesystem.disk import ThreadPool
from imaged.stores.filesystem.marker import FolderMarker, MarkedFolderSettings


class CertificatesRefused(ImagedError):
    """The file of trusted certificate authorities cannot be read."""

    def __init__(self, path: Path | None, error: OSError) -> None:
        super().__init__(f"fetch.ca_file, {path}, cannot be used: {error.strerror or error}.")


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
            self.scratch, self._converter, OsloInspector, self.check_factory
        )

    def apply(self, config: Config) -> None:
        """Apply the reloadable settings."""
        self._converter.settings = settings.qemu_img_settings(config)


def scratch_place(config: Config) -> MarkedPlace:
    """Return the marked place of the scratch folder."""
    folder = MarkedFolderSettings(
        PlaceKind.SCRATCH, "scratch", config.conversion.scratch, "scratch"
    )
    return FolderMarker(folder, ThreadPool("scratch", count=1))


def build_fetcher(config: Config) -> Fetcher:
    """Build the HTTP fetcher. Raises CertificatesRefused."""
    fetch = settings.fetch_settings(config)
    try:
        return HttpFetcher(fetch)
    except OSError as error:  # includes SSLError
        raise CertificatesRefused(fetch.ca_file, error) from error
