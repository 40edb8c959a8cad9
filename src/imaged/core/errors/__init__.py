"""Everything that can go wrong, by name.

* ImagedError
  - ImageNotFound           no image has this id, or none that the caller may see
  - TagNotFound             the image has no such tag
  - TaskNotFound            no task has this id, or none that the caller may see
  - TaskNotFinal            the task is still to be worked on, or is being worked on
  - TaskFinal               the task has ended already
  - TaskFailed              the work cannot be done, and another attempt would not help
  - TaskStalled             an attempt made no progress for too long
  - ImageExists             the id is taken, perhaps by an image deleted long ago
  - ImageDeleted            the image was deleted while its data was being written
  - ImageProtected
  - InvalidTransition       the event is not possible in this status
      - ActivationRefused   … and the event was to deactivate or to reactivate
  - ImportNotReady          the image is not as an import needs it
  - FormatsChanged          the image was patched while its data was judged as something else
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
  - PropertiesTooLarge      more bytes of properties than an image may have
  - UnsatisfiableRange
  - DataRefused             the bytes are not what they should be
      - SizeMismatch
      - RetryMismatch       an upload broke off, and this body is not the same file
      - TooLarge
      - FormatRefused
  - DataDamaged             stored bytes are not what was recorded of them
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
      - WrongPlace          its folder or bucket is another one than the catalog knows
          - MarkerRefused   … or says nothing that can be understood
      - BlobMissing         the store has no whole blob under this key
      - BlobExists          a blob of this key was written before
      - WriteDiscarded      the write was deleted before it could be committed
  - ExportError             a destination of exports could not do what was asked
      - ExportExists        it has a file of this name
      - ExportFull
  - SecretKeyUnavailable    there is no key for secrets, and none can be made
  - SecretUnreadable        a secret was encrypted with another key than ours
  - ScratchError            the folder for scratch files could not do what was asked
      - ScratchFull
  - ListTooSlow             a list was not ready in time
  - CatalogError            the catalog could not do what was asked
      - CatalogTooNew, CatalogTooOld
      - CatalogUnavailable  it does not answer now, and may in a moment
          - CatalogFull
      - CatalogMissing      there is none, and none is made over places that hold data

Which HTTP status each of them gets is decided in ``api/error_responses.py`` and nowhere else.
"""

from imaged.core.errors.backends import (
    BlobExists,
    BlobMissing,
    CatalogError,
    CatalogFull,
    CatalogMissing,
    CatalogTooNew,
    CatalogTooOld,
    CatalogUnavailable,
    ExportError,
    ExportExists,
    ExportFull,
    ListTooSlow,
    MarkerRefused,
    ScratchError,
    ScratchFull,
    SecretKeyUnavailable,
    SecretUnreadable,
    StoreError,
    StoreFull,
    WriteDiscarded,
    WrongPlace,
)
from imaged.core.errors.base import (
    ImagedError,
)
from imaged.core.errors.data import (
    ClientVanished,
    DataDamaged,
    DataRefused,
    FormatRefused,
    QuotaExceeded,
    RetryMismatch,
    SizeMismatch,
    TooLarge,
)
from imaged.core.errors.images import (
    ActivationRefused,
    BlobGone,
    ClaimLost,
    FormatsChanged,
    FormatsUnset,
    ImageDeleted,
    ImageExists,
    ImageNotFound,
    ImageProtected,
    ImportNotReady,
    InvalidTransition,
    NotRestorable,
    TagNotFound,
)
from imaged.core.errors.requests import (
    DataForbidden,
    InvalidAttribute,
    InvalidInput,
    InvalidQuery,
    InvalidRequest,
    NotPermitted,
    PropertiesTooLarge,
    PropertyConflict,
    ReadOnlyAttribute,
    TooMany,
    UnknownStore,
    UnknownTaskType,
    UnsatisfiableRange,
)
from imaged.core.errors.tasks import (
    ConversionFailed,
    ConversionRefused,
    FetchFailed,
    FetchRefused,
    TaskFailed,
    TaskFinal,
    TaskNotFinal,
    TaskNotFound,
    TaskStalled,
    TooManyTasks,
)

__all__ = [
    "ActivationRefused",
    "BlobExists",
    "BlobGone",
    "BlobMissing",
    "CatalogError",
    "CatalogFull",
    "CatalogMissing",
    "CatalogTooNew",
    "CatalogTooOld",
    "CatalogUnavailable",
    "ClaimLost",
    "ClientVanished",
    "ConversionFailed",
    "ConversionRefused",
    "DataDamaged",
    "DataForbidden",
    "DataRefused",
    "ExportError",
    "ExportExists",
    "ExportFull",
    "FetchFailed",
    "FetchRefused",
    "FormatRefused",
    "FormatsChanged",
    "FormatsUnset",
    "ImageDeleted",
    "ImageExists",
    "ImageNotFound",
    "ImageProtected",
    "ImagedError",
    "ImportNotReady",
    "InvalidAttribute",
    "InvalidInput",
    "InvalidQuery",
    "InvalidRequest",
    "InvalidTransition",
    "ListTooSlow",
    "MarkerRefused",
    "NotPermitted",
    "NotRestorable",
    "PropertiesTooLarge",
    "PropertyConflict",
    "QuotaExceeded",
    "ReadOnlyAttribute",
    "RetryMismatch",
    "ScratchError",
    "ScratchFull",
    "SecretKeyUnavailable",
    "SecretUnreadable",
    "SizeMismatch",
    "StoreError",
    "StoreFull",
    "TagNotFound",
    "TaskFailed",
    "TaskFinal",
    "TaskNotFinal",
    "TaskNotFound",
    "TaskStalled",
    "TooLarge",
    "TooMany",
    "TooManyTasks",
    "UnknownStore",
    "UnknownTaskType",
    "UnsatisfiableRange",
    "WriteDiscarded",
    "WrongPlace",
]
