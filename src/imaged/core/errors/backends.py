"""Errors of stores, export destinations, the secret key, the scratch folder and the catalog."""

from __future__ import annotations

from imaged.core.errors.base import ImagedError


class StoreError(ImagedError):
    """A store could not do what was asked. The text names the store and the cause."""

    http_status = 503
    remedy = "Try again later; the operator finds `request.failed` in the log."
    client_text = "The image store does not work at the moment. Please try again later."
    is_outage = True

    def __init__(self, store: str, why: str) -> None:
        super().__init__(f"The store {store!r} {why}.")
        self.store = store
        self.why = why


class StoreKeyUnreadable(StoreError):
    """A file that holds a key of the store cannot be read, or holds no key."""

    remedy = "Have the operator correct the file that the log names."
    needs_correction = True


class StoreFull(StoreError):
    """No space is left, or less than must stay free."""

    http_status = 413
    remedy = "Have the operator make room: `store.full` is in the log."
    client_text = "The image store has no room for this."
    is_outage = False


class WrongPlace(StoreError):
    """The place is another one than the catalog knows, or belongs to another catalog.

    Nothing is written or deleted there (``core/place_marker.py``).
    """

    remedy = "The operator finds what to do in the log, in `store.degraded`."


class MarkerRefused(WrongPlace):
    """The marker of the place cannot be parsed."""


class BlobMissing(StoreError):
    """The store has no complete blob under this key."""

    remedy = "Have the operator run `imaged reconcile`, and restore the bytes."
    is_outage = False

    def __init__(self, store: str, key: str) -> None:
        super().__init__(store, f"has no blob {key}")
        self.key = key


class BlobExists(StoreError):
    """A blob with this key was written before; a key is never reused."""

    remedy = "Try again; if it persists, the operator finds `request.failed` in the log."
    is_outage = False

    def __init__(self, store: str, key: str) -> None:
        super().__init__(store, f"has a blob {key} already")
        self.key = key


class WriteDiscarded(StoreError):
    """The write was deleted before it could be committed."""

    remedy = "Try again; if it persists, the operator finds `request.failed` in the log."
    is_outage = False

    def __init__(self, store: str, key: str) -> None:
        super().__init__(store, f"discarded the unfinished write of {key}")
        self.key = key


class ExportError(ImagedError):
    """An export destination could not do what was asked. The text names it and the cause."""

    http_status = 503
    remedy = "Try again later; the log has the destination's error."
    client_text = (
        "The export destination {destination!r} does not work at the moment. Please try again "
        "later."
    )

    def __init__(self, destination: str, why: str) -> None:
        super().__init__(f"The export destination {destination!r} {why}.")
        self.destination = destination


class ExportKeyUnreadable(ExportError):
    """A file that holds a key of the destination cannot be read, or holds no key."""

    remedy = "Have the operator correct the file that the log names."
    needs_correction = True


class ExportExists(ExportError):
    """A file of this name exists, and files are never overwritten."""

    http_status = 409
    remedy = "Choose another `file_name`."
    client_text = (
        "There is a file of this name already: {file_name}, in the export destination "
        "{destination!r}. Choose another file_name."
    )

    def __init__(self, destination: str, file_name: str) -> None:
        super().__init__(destination, f"has something of the name {file_name!r}")
        self.file_name = file_name


class ExportFull(ExportError):
    """No space is left, or less than must stay free."""

    http_status = 413
    remedy = "Have the operator make room at the destination."
    client_text = "The export destination {destination!r} has no room for this."


class SecretKeyUnavailable(ImagedError):
    """There is no usable key for secrets, so none can be stored."""

    http_status = 503
    remedy = "Have the operator check `tasks.key_file`; tasks without secrets work."
    client_text = "The server cannot keep secrets at the moment. Please tell its operator."
    sentence = "The key for secrets of tasks, {}, cannot be used: {}."


class SecretUnreadable(ImagedError):
    """The key differs from the one that encrypted the secret."""

    http_status = 409
    remedy = "Create the task again: the key was changed meanwhile."
    sentence = (
        "The secret that came with the task cannot be read any more: the server's key has "
        "changed. Please ask again."
    )


class ScratchError(ImagedError):
    """The scratch folder could not do what was asked."""

    http_status = 503
    remedy = "Have the operator check `conversion.scratch`."
    client_text = "The server cannot keep the scratch files that this needs. An operator can help."
    sentence = "The scratch file {} cannot be used: {}."


class ScratchFull(ScratchError):
    """The scratch folder has no room for the work."""

    http_status = 413
    remedy = "Try again later, or have the operator make room in `conversion.scratch`."
    client_text = "The server has no room for the scratch files that this needs. Try again later."


class CatalogError(ImagedError):
    """The catalog could not do what was asked."""

    http_status = 503
    remedy = "Try again later; the operator finds `request.failed` in the log."
    client_text = "The catalog of images does not answer at the moment. Please try again later."
    is_outage = True


class CatalogUnavailable(CatalogError):
    """The catalog does not answer, or cannot do it now; a retry may succeed.

    The request may nevertheless have been carried out.
    """

    remedy = (
        "Try again in a moment: the catalog is down, or busy. Uploads in flight wait for it while "
        "their leases hold."
    )


class CatalogFull(CatalogUnavailable):
    """The disk of the catalog has no room left."""

    remedy = (
        "Have the operator make room on the disk of the catalog; `/readyz` and `imaged doctor` "
        "say when there is room again."
    )


class ListTooSlow(ImagedError):
    """A list was not begun in time, because many are read at once; other work does not wait."""

    http_status = 503
    remedy = (
        "Try again later. Lists have connections of their own, so that they delay no other call."
    )
    sentence = (
        "The list was not ready within {:g} seconds, because many lists are read. Try again later."
    )


class CatalogTooNew(CatalogError):
    """The catalog was written by a newer version of imaged."""

    remedy = "The operator starts the version that wrote the catalog."


class CatalogTooOld(CatalogError):
    """The catalog must be migrated first."""

    remedy = "The operator runs `imaged migrate`."


class CatalogMissing(CatalogError):
    """There is no catalog, and none is created over places that hold data."""

    remedy = "The operator corrects `catalog.url`, or restores the catalog."


class CatalogExists(CatalogError):
    """There is a catalog where another one was to be put."""

    remedy = "The operator moves it away, or confirms with the option that the error names."


class CatalogInUse(CatalogError):
    """Instances work with a catalog that nothing else may change meanwhile."""

    remedy = "The operator stops the instances that the error names."


class BackupError(ImagedError):
    """A backup could not be made, or is not what was written. The text says what to do."""

    http_status = 503
    remedy = "The operator does what the error says."
