"""Builds what tells a proxy to send downloads, from ``[downloads] delegate``."""

from __future__ import annotations

from imaged.config import Config
from imaged.config.stores import FilesystemSection
from imaged.services.delegation import Delegation


def delegation(config: Config) -> Delegation | None:
    """How a proxy is told to send downloads; None: this service sends them."""
    downloads, stores = config.downloads, config.stores.by_name
    match downloads.delegate:
        case "x-accel-redirect":
            folders = {name: f"{downloads.delegate_prefix}{name}/" for name in stores}
        case "x-sendfile":
            folders = {
                name: f"{store.path}/"
                for name, store in stores.items()
                if isinstance(store, FilesystemSection)
            }
        case _:
            return None
    return Delegation(downloads.delegate, folders)
