"""All errors that this package raises on purpose.

* ImagedError
  - ImageNotFound           no image has this id, or the caller may not see it
  - TagNotFound             the image has no such tag
  - TaskNotFound            no task has this id, or the caller may not see it
  - TaskNotFinal            the task has not ended yet
  - TaskFinal               the task has ended already
  - TaskFailed              the work is impossible, and another attempt would not help
  - TaskStalled             an attempt made no progress for too long
  - ImageExists             the id is taken, possibly by a deleted image
  - ImageDeleted            the image was deleted while its data was being written
  - ImageProtected
  - InvalidTransition       the event is not possible in this status
      - ActivationRefused   … and the event was to deactivate or to reactivate
  - ImportNotReady          the image has not the status or attributes that its import needs
  - FormatsChanged          the image was patched after its data was inspected as another format
  - FormatsUnset            data is not accepted before both formats are set
  - NotRestorable           the image's delay has ended, or it was not waiting
  - NotPermitted            the caller's roles do not permit this
      - DataForbidden       the image is deactivated, and the caller is no admin
  - InvalidRequest          the request is invalid; names the attribute or parameter
      - InvalidAttribute
      - InvalidQuery
      - InvalidInput        a field of a task's input
      - UnknownStore
      - UnknownTaskType
  - ReadOnlyAttribute       clients cannot set it
  - PropertyConflict        a patch requires a missing property, or the absence of an existing one
  - TooMany                 more tags or properties than allowed
  - PropertiesTooLarge      more bytes of properties than allowed
  - UnsatisfiableRange
  - DataRefused             the received bytes are refused
      - SizeMismatch
      - RetryMismatch       an upload broke off, and this body is not the same file
      - TooLarge
      - FormatRefused
  - DataDamaged             stored bytes differ from their record
  - ClientVanished          the connection ended before the body
  - FetchFailed             a fetch failed, or was incomplete
      - FetchRefused        … permanently: fetches may not connect to the address
  - ConversionFailed        a disk format could not be converted to another
      - ConversionRefused   … and never can be, whatever the bytes are
  - QuotaExceeded           the owner's quota has no room for the bytes
  - TooManyTasks            the owner has reached the limit of unfinished tasks
  - ClaimLost               another process took the work over, or it is finished
  - BlobGone                the bytes are being deleted or gone, and cannot be referred to
  - StoreError              a store could not do what was asked
      - StoreFull
      - WrongPlace          its folder or bucket is not the one that the catalog knows
          - MarkerRefused   … or its marker cannot be parsed
      - BlobMissing         the store has no complete blob under this key
      - BlobExists          a blob with this key was written before
      - WriteDiscarded      the write was deleted before it could be committed
  - ExportError             an export destination could not do what was asked
      - ExportExists        it has a file of this name
      - ExportFull
  - SecretKeyUnavailable    there is no usable key for secrets
  - SecretUnreadable        a secret was encrypted with another key
  - ScratchError            the scratch folder could not do what was asked
      - ScratchFull
  - ListTooSlow             a list was not ready in time
  - CatalogError            the catalog could not do what was asked
      - CatalogTooNew, CatalogTooOld
      - CatalogUnavailable  it does not answer now; a retry may succeed
          - CatalogFull
      - CatalogMissing      there is none, and none is created over places that hold data

``api/error_responses.py`` alone maps errors to HTTP statuses.
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
