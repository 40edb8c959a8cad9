"""Places for exports of real daemons: a folder, or a folder of the bucket."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from contracts.export_s3 import ExportBackdoor
from contracts.store_bucket import settings_for
from exports.test_filesystem import FolderBackdoor
from support.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY


class FolderPlace:
    """A folder."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.settings = {"type": "filesystem", "path": str(path), "min_free": "0"}
        self.door = FolderBackdoor(path)


class BucketPlace:
    """A folder of the bucket that the images may be in too."""

    def __init__(self, path: Path, endpoint: str) -> None:
        prefix = f"exports/{uuid4().hex}"
        for name, key in (("access", ACCESS_KEY), ("secret", SECRET_KEY)):
            (path / f"{name}.key").write_text(key)
        self.settings = {
            "type": "s3",
            "endpoint": endpoint,
            "bucket": BUCKET,
            "prefix": prefix,
            "part_size": "5MiB",
            "access_key_file": str(path / "access.key"),
            "secret_key_file": str(path / "secret.key"),
        }
        self.door = ExportBackdoor(settings_for(endpoint, prefix=prefix))


Place = FolderPlace | BucketPlace
