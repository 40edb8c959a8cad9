"""What the types of tasks work with: built from the configuration, and changed with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imaged.config import Config
from imaged.conversion.qemu_img import QemuImg
from imaged.conversion.scratch import DiskScratch
from imaged.core.errors import ImagedError
from imaged.core.places import PlaceKind
from imaged.daemon import task_settings
from imaged.daemon.import_checks import load_checks
from imaged.fetchers.http import HttpFetcher
from imaged.inspectors.oslo import OsloInspector
from imaged.ports.fetcher import Fetcher
from imaged.ports.place import MarkedPlace
from imaged.services.marked_places import MarkedScratch
from imaged.services.places import Places
from imaged.services.tasks.conversion import Conversion
from imaged.services.tasks.examination import Examiner
from imaged.stores.marked_folder import FolderPlace, MarkedFolder
from imaged.stores.threads import Threads


class CertificatesRefused(ImagedError):
    """The authorities that fetches are to trust cannot be read."""

    def __init__(self, path: Path | None, error: OSError) -> None:
        super().__init__(f"fetch.ca_file, {path}, cannot be used: {error.strerror or error}.")


class TaskMeans:
    """Ways for tasks to get at bytes, look at them and change them.

    Raises ImportCheckRefused, CertificatesRefused.
    """

    def __init__(self, config: Config, places: Places, max_size_bytes: Callable[[], int]) -> None:
        self._converter = QemuImg(task_settings.qemu_img_settings(config))
        scratch = DiskScratch(task_settings.scratch_settings(config))
        self.scratch = MarkedScratch(scratch, scratch_place(config), places)
        self.fetcher = build_fetcher(config)
        self.examiner = Examiner(max_size_bytes, load_checks())
        self.conversion = Conversion(self.scratch, self._converter, OsloInspector, self.examiner)

    def apply(self, config: Config) -> None:
        """Go on with other settings."""
        self._converter.settings = task_settings.qemu_img_settings(config)


def scratch_place(config: Config) -> MarkedPlace:
    """The marker of the folder for scratch files."""
    folder = FolderPlace(PlaceKind.SCRATCH, "scratch", config.conversion.scratch, "scratch")
    return MarkedFolder(folder, Threads("scratch", count=1))


def build_fetcher(config: Config) -> Fetcher:
    """What fetches from elsewhere. Raises CertificatesRefused."""
    settings = task_settings.fetch_settings(config)
    try:
        return HttpFetcher(settings)
    except OSError as error:  # SSLError is one
        raise CertificatesRefused(settings.ca_file, error) from error
