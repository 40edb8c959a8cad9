"""Everything that can go wrong, by name.

* ImagedError
  - ImageNotFound           no image has this id, or none that the caller may see
  - TagNotFound             the image has no such tag
  - TaskNotFound            no task has this id, or none that the caller may see
  - TaskNotFinal            the task is still to be worked on, or is being worked on
  - TaskFinal               the task has ended already
  - TaskFailed              the work cannot be done, and another attempt would not help
  - ImageExists             the id is taken, perhaps by an image deleted long ago
  - ImageDeleted            the image was deleted while its data was being written
  - ImageProtected
  - InvalidTransition       the event is not possible in this status
      - ActivationRefused   … and the event was to deactivate or to reactivate
  - ImportNotReady          the image is not as an import needs it
  - FormatsUnset            data may not come before disk_format and container_format
  - NotRestorable           the image's time was up, or it never waited
  - NotPermitted            the caller's roles do not allow this
      - DataForbidden       the image is deactivated, and the caller is no admin
  - InvalidRequest          the request cannot be understood; names the attribute or parameter
      - InvalidAttribute
      - InvalidQuery
      - InvalidInput        a field of a task's input
      - UnknownStore
      - UnknownTaskType
  - ReadOnlyAttribute       clients never set it
  - PropertyConflict        a patch needs a property that is not there, or the other way round
  - TooMany                 more tags or properties than an image may have
  - UnsatisfiableRange
  - DataRefused             the bytes are not what they should be
      - SizeMismatch
      - TooLarge
      - FormatRefused
  - ClientVanished          the body broke off
  - FetchFailed             what was to be fetched could not be had, or not all of it
      - FetchRefused        … and never will be: it lies where fetches may not go
  - ConversionFailed        one disk format could not be turned into another
      - ConversionRefused   … and never will be, whatever the bytes are
  - QuotaExceeded           the owner has no room for so many bytes
  - TooManyTasks            the owner has as many unfinished tasks as he may have
  - ClaimLost               somebody else took the work back, or finished it
  - BlobGone                these bytes are going or gone: nobody can refer to them any more
  - StoreError              a store could not do what was asked
      - StoreFull
      - BlobMissing         the store has no whole blob under this key
      - BlobExists          a blob of this key was written before
      - WriteDiscarded      the write was deleted before it could be committed
  - ExportError             a destination of exports could not do what was asked
      - ExportExists        it has a file of this name
      - ExportFull
  - SealMissing             there is no key for secrets, and none can be made
  - SealBroken              a secret was sealed with another key than ours
  - ScratchError            the folder for scratch files could not do what was asked
      - ScratchFull
  - CatalogError            the catalog could not do what was asked
      - CatalogTooNew, CatalogTooOld

Which HTTP status each of them gets is decided in ``api/problems.py`` and nowhere else.
"""

from __future__ import annotations


class ImagedError(Exception):
    """Base of every error that this package raises on purpose. Its text is meant for people."""

    @property
    def for_clients(self) -> str:
        """The text, unless it may name paths, hosts or keys: those are for the log alone."""
        return str(self)


class ImageNotFound(ImagedError):
    """No image has this id, or none that the caller may see."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"There is no image {image_id}.")
        self.image_id = image_id


class TagNotFound(ImagedError):
    """The image has no such tag."""

    def __init__(self, tag: str) -> None:
        super().__init__(f"The image has no tag {tag!r}.")
        self.tag = tag


class TaskNotFound(ImagedError):
    """No task has this id, or none that the caller may see."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"There is no task {task_id}.")
        self.task_id = task_id


class TaskNotFinal(ImagedError):
    """Only a task that has ended is removed."""

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(f"The task {task_id} is {status}; cancel it first.")


class TaskFinal(ImagedError):
    """What has ended cannot be cancelled."""

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(f"The task {task_id} has ended already, in {status}.")


class TaskFailed(ImagedError):
    """The work cannot be done. The sentence is for the task's owner: no paths, no addresses of
    our own, no secrets.
    """


class ImageExists(ImagedError):
    """The id is taken, perhaps by an image that was deleted long ago."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"The image id {image_id} is taken; an id is never used twice.")
        self.image_id = image_id


class ImageDeleted(ImagedError):
    """The image was deleted while its data was being written."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"The image {image_id} was deleted while its data was being written.")
        self.image_id = image_id


class ImageProtected(ImagedError):
    """A protected image is never deleted."""

    def __init__(self, image_id: str) -> None:
        super().__init__(
            f"The image {image_id} is protected; set its attribute 'protected' to false first."
        )


class InvalidTransition(ImagedError):
    """The event is not possible in this status."""

    def __init__(self, status: str, event: str) -> None:
        super().__init__(f"An image that is {status} cannot take the step '{event}'.")
        self.status = status
        self.event = event


class ActivationRefused(InvalidTransition):
    """Only active images are deactivated, and only deactivated ones reactivated."""


class FormatsUnset(ImagedError):
    """Data may not come before both formats are known."""

    def __init__(self) -> None:
        super().__init__(
            "The attributes 'disk_format' and 'container_format' must be set before data is sent."
        )


class ImportNotReady(ImagedError):
    """The image is not in the status, or does not say what, an import of it needs."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The image cannot be imported now: {why}.")


class NotRestorable(ImagedError):
    """The image's time was up: its bytes are being deleted, or gone."""

    def __init__(self, image_id: str, why: str) -> None:
        super().__init__(f"The image {image_id} cannot be restored: {why}.")


class NotPermitted(ImagedError):
    """The caller's roles do not allow this."""


class DataForbidden(NotPermitted):
    """Only an admin may read the data of a deactivated image."""

    def __init__(self) -> None:
        super().__init__("The image is deactivated; only an administrator may read its data.")


class InvalidRequest(ImagedError):
    """The request cannot be understood."""


class InvalidAttribute(InvalidRequest):
    """An attribute's value is of the wrong type, too long, or not among those allowed."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The attribute {name!r} {why}.")
        self.name = name


class InvalidQuery(InvalidRequest):
    """A parameter of the query string has no meaning."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The query parameter {name!r} {why}.")
        self.name = name


class InvalidInput(InvalidRequest):
    """A field of a task's input is missing, unknown, or has a value that is of no use."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The field {name!r} of the task's input {why}.")
        self.name = name


class UnknownTaskType(InvalidRequest):
    """No such type of task, or none that this call makes."""

    def __init__(self, name: str, known: str) -> None:
        super().__init__(f"There is no task type {name!r} to ask for; possible: {known}.")
        self.name = name


class UnknownStore(InvalidRequest):
    """No store of this name is configured."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no store named {name!r}.")


class ReadOnlyAttribute(ImagedError):
    """Clients never set this attribute, or not in this status."""

    def __init__(self, name: str, why: str = "is read-only") -> None:
        super().__init__(f"The attribute {name!r} {why}.")
        self.name = name


class PropertyConflict(ImagedError):
    """A patch expects a property that is not there, or the absence of one that is."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The property {name!r} {why}.")
        self.name = name


class TooMany(ImagedError):
    """An image may have so many of these, and not more."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"An image can have {limit} {what} at most.")


class UnsatisfiableRange(ImagedError):
    """The range begins behind the last byte."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The range is outside of the image, which has {size_bytes} bytes.")
        self.size_bytes = size_bytes


class DataRefused(ImagedError):
    """The bytes are not what they should be."""


class SizeMismatch(DataRefused):
    """Fewer or more bytes came than were announced."""

    def __init__(self, announced_bytes: int, received_bytes: int) -> None:
        super().__init__(f"{announced_bytes} bytes were announced and {received_bytes} came.")


class TooLarge(DataRefused):
    """More bytes than ``uploads.max_size`` allows."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The data is larger than {limit_bytes} bytes, the most that is accepted.")


class FormatRefused(DataRefused):
    """The bytes are not of the declared format, or have features that are not safe."""


class ClientVanished(ImagedError):
    """The body broke off before its end."""

    def __init__(self) -> None:
        super().__init__("The connection broke off before the end of the data.")


class FetchFailed(ImagedError):
    """What was to be fetched could not be had. Names the host, the phase and the reason.

    ``host``: with its port where it is not the scheme's own; never credentials, path or query.
    ``phase``: "address", "name", "connection", "answer", "redirect" or "body".
    """

    def __init__(self, host: str, phase: str, reason: str) -> None:
        super().__init__(f"Fetching from {host} failed ({phase}): {reason}.")
        self.host = host
        self.phase = phase
        self.reason = reason


class FetchRefused(FetchFailed):
    """It lies where fetches may not go."""


class ConversionFailed(ImagedError):
    """One disk format could not be turned into another."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The image could not be converted: {why}.")
        self.why = why


class ConversionRefused(ConversionFailed):
    """It cannot be done here, whatever the bytes are."""


class QuotaExceeded(ImagedError):
    """The owner has no room for so many bytes."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"The quota of the project {owner} is used up.")


class TooManyTasks(ImagedError):
    """The owner has as many tasks that have not ended as he may have."""

    def __init__(self, owner: str, limit: int) -> None:
        super().__init__(
            f"The project {owner} has {limit} tasks that have not ended, and may not have more. "
            "Wait until some have ended, or cancel some, and ask again."
        )


class ClaimLost(ImagedError):
    """The work is no longer ours: somebody took it back, or it is finished."""

    def __init__(self) -> None:
        super().__init__("This server lost its claim on the image; please try again.")


class BlobGone(ImagedError):
    """The ledger has no such bytes, or they are unfinished or doomed."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The bytes {key} are unfinished, going or gone.")

    @property
    def for_clients(self) -> str:
        """Without the key."""
        return "The data of the image is being deleted."


class StoreError(ImagedError):
    """A store could not do what was asked. Says which store, and what to look at."""

    def __init__(self, store: str, why: str) -> None:
        super().__init__(f"The store {store!r} {why}.")
        self.store = store
        self.why = why

    @property
    def for_clients(self) -> str:
        """Without what only the operator can mend."""
        return "The storage of images does not work at the moment. Please try again later."


class StoreFull(StoreError):
    """No space is left, or less than must stay free."""

    @property
    def for_clients(self) -> str:
        """Without the figures."""
        return "The storage of images has no room for this."


class BlobMissing(StoreError):
    """The store has no whole blob under this key."""

    def __init__(self, store: str, key: str) -> None:
        super().__init__(store, f"has no blob {key}")
        self.key = key


class BlobExists(StoreError):
    """A blob of this key was written before; a key is never used again."""

    def __init__(self, store: str, key: str) -> None:
        super().__init__(store, f"has a blob {key} already")
        self.key = key


class WriteDiscarded(StoreError):
    """The write was deleted before it could be committed."""

    def __init__(self, store: str, key: str) -> None:
        super().__init__(store, f"discarded the unfinished write of {key}")
        self.key = key


class ExportError(ImagedError):
    """A destination of exports could not do what was asked. Says which, and what to look at."""

    def __init__(self, destination: str, why: str) -> None:
        super().__init__(f"The export destination {destination!r} {why}.")
        self.destination = destination

    @property
    def for_clients(self) -> str:
        """Without what only the operator can mend."""
        return (
            f"The export destination {self.destination!r} does not work at the moment. "
            "Please try again later."
        )


class ExportExists(ExportError):
    """There is a file of this name, and nothing is ever overwritten."""

    def __init__(self, destination: str, file_name: str) -> None:
        super().__init__(destination, f"has something of the name {file_name!r}")
        self.file_name = file_name

    @property
    def for_clients(self) -> str:
        """What its owner may do."""
        return (
            f"There is a file of this name already: {self.file_name}, in the export destination "
            f"{self.destination!r}. Choose another file_name."
        )


class ExportFull(ExportError):
    """No space is left, or less than must stay free."""

    @property
    def for_clients(self) -> str:
        """Without the figures."""
        return f"The export destination {self.destination!r} has no room for this."


class SealMissing(ImagedError):
    """Secrets cannot be kept here."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"The key for secrets of tasks, {path}, cannot be used: {why}.")

    @property
    def for_clients(self) -> str:
        """Without what only the operator can mend."""
        return "The server cannot keep secrets at the moment. Please tell its operator."


class SealBroken(ImagedError):
    """The key is another one than when the secret was stored."""

    def __init__(self) -> None:
        super().__init__(
            "The secret that came with the task cannot be read any more: the server's key has "
            "changed. Please ask again."
        )


class ScratchError(ImagedError):
    """The folder for scratch files could not do what was asked."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"The scratch file {path} cannot be used: {why}.")

    @property
    def for_clients(self) -> str:
        """The text without the path."""
        return "The server cannot keep the scratch files that this needs. An operator can help."


class ScratchFull(ScratchError):
    """There is no room for what the work needs."""

    @property
    def for_clients(self) -> str:
        """The text without the path."""
        return "The server has no room for the scratch files that this needs. Try again later."


class CatalogError(ImagedError):
    """The catalog could not do what was asked."""

    @property
    def for_clients(self) -> str:
        """Without what only the operator can mend."""
        return "The catalog of images does not answer at the moment. Please try again later."


class CatalogTooNew(CatalogError):
    """The catalog was written by a newer version of imaged."""


class CatalogTooOld(CatalogError):
    """The catalog has to be migrated first."""
