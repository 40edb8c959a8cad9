"""What each error of S3 means to an operator, and whether it is retryable: one table, one border.

Texts are imaged's own. Those of the store are not repeated: they may contain addresses, keys or
signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as UnreachableError
from botocore.parsers import ResponseParserError

from imaged.core.errors import BlobExists, BlobMissing, StoreError, StoreFull, WriteDiscarded
from imaged.stores.s3.settings import S3Settings


class CertificatesUnreadable(OSError):
    """The file of certificates is missing or has none."""


#: Every exception that a call may raise.
LIBRARY_ERRORS = (
    BotoCoreError,
    ClientError,
    ResponseParserError,
    aiohttp.ClientError,
    TimeoutError,
    OSError,
)

#: Temporary errors: the same call is worth a retry.
RETRYABLE_EXCEPTIONS = (
    HTTPClientError,
    UnreachableError,
    ResponseParserError,
    aiohttp.ClientError,
    TimeoutError,
    OSError,
)
PERMANENT_EXCEPTIONS = (SSLError, CertificatesUnreadable)  # exceptions among the above
TIMEOUT_ERRORS = (TimeoutError, ConnectTimeoutError, ReadTimeoutError)
RETRYABLE_STATUSES = {408, 429, 500, 502, 503, 504}
BAD_REQUEST = 400
CHECKSUM_MISMATCH_CODES = {"BadDigest", "XAmzContentChecksumMismatch"}
UNAVAILABLE_STATUSES = {429, 500, 502, 503, 504}
UNAVAILABLE_CODES = {"SlowDown", "InternalError", "ServiceUnavailable"}
RETRYABLE_CODES = UNAVAILABLE_CODES | {
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "OperationAborted",
    "ConditionalRequestConflict",
    "BadDigest",  # damaged in transit
    "IncompleteBody",
}

#: The right that an access key needs, by call (Amazon's names; other services use the same).
PERMISSIONS = {
    "head_bucket": "s3:ListBucket",
    "list_objects_v2": "s3:ListBucket",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "list_parts": "s3:ListMultipartUploadParts",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "delete_object": "s3:DeleteObject",
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject and s3:ListBucket",
}
WRITE_PERMISSION = "s3:PutObject"

NO_SPACE_CODES = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "StorageFull", "507"}
TOO_LARGE_CODES = {"EntityTooLarge"}
CODE_REMEDIES = {
    "NoSuchBucket": "create the bucket, or correct its name",
    "InvalidBucketName": "correct the name of the bucket",
    "InvalidAccessKeyId": "the access key is not known there: correct it",
    "SignatureDoesNotMatch": (
        "the secret key is wrong; or a proxy changes the Host header or the path, which are signed "
        "(nginx: proxy_set_header Host $http_host, and a proxy_pass without a path)"
    ),
    "AuthorizationHeaderMalformed": "the region is wrong: set that of the bucket",
    "PermanentRedirect": "the bucket is elsewhere: set its region and endpoint",
    "IllegalLocationConstraintException": "the region is wrong: set that of the bucket",
    "ExpiredToken": "the credentials have expired: renew them",
    "ExpiredTokenException": "the credentials have expired: renew them",
    "InvalidToken": "the credentials are not valid: renew them",
    "RequestTimeTooSkewed": "the clock of this machine, or of the store, is wrong: set it",
    "SlowDown": "it is overloaded; several retries failed",
    "301": "the bucket is elsewhere: set its region and endpoint",
    "400": "the region or the credentials may be wrong, or it needs another kind of addressing",
    "404": (
        "nothing is there: check endpoint and bucket, and whether a proxy changes the path or "
        "the Host header"
    ),
    "413": (
        "a proxy takes no body of part_size (nginx: client_max_body_size): let it take more, or "
        "lower part_size"
    ),
    "NotImplemented": "it cannot do this",
    "InvalidRequest": "if it does not know checksums of this kind, set another checksum",
    "BadDigest": "bytes were damaged in transit, several times",
}
ACCESS_DENIED_CODES = {"AccessDenied", "403", "AllAccessDisabled", "AccountProblem", "Forbidden"}

#: Calls that name an upload: Ceph RGW 16.2 answers NoSuchKey to a list of the parts of one that is
#: gone, and Swift 2.38 to an abort of one that was completed.
NO_UPLOAD_CODES = {"NoSuchUpload", "NoSuchKey", "NotImplemented", "501", "405", "MethodNotAllowed"}
UPLOAD_OPERATIONS = {
    "upload_part",
    "list_parts",
    "abort_multipart_upload",
    "complete_multipart_upload",
}
PRECONDITION_FAILED_CODES = {"PreconditionFailed", "412"}

#: For calls without an answer; the first match counts. ``%s``: the endpoint.
CONNECTION_MESSAGES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError),
        (
            "has no credentials for %s: set access_key_file and secret_key_file, or give the "
            "instance a role"
        ),
    ),
    ((CertificatesUnreadable,), "cannot read the certificates for %s: correct ca_file"),
    ((SSLError,), "does not trust the certificate of %s: set ca_file, or correct it"),
    (TIMEOUT_ERRORS, "got no answer from %s in time; check that it is running and not overloaded"),
    ((ResponseParserError,), "got an answer from %s that is not S3's; check the endpoint"),
    (RETRYABLE_EXCEPTIONS, "cannot reach %s, or lost the connection; check that it is running"),
)


class ConditionalWritesUnsupported(StoreError):
    """The store does not support conditional writes."""


def is_retryable(error: BaseException) -> bool:
    """Whether the same call may succeed a little later."""
    if isinstance(error, ClientError):
        return _error_code_of(error) in RETRYABLE_CODES or _status_of(error) in RETRYABLE_STATUSES
    return isinstance(error, RETRYABLE_EXCEPTIONS) and not isinstance(error, PERMANENT_EXCEPTIONS)


def is_checksum_mismatch(error: ClientError) -> bool:
    """Whether bytes were refused because they do not match their checksum."""
    return _error_code_of(error) in CHECKSUM_MISMATCH_CODES or _status_of(error) == BAD_REQUEST


def is_unavailable(error: BaseException) -> bool:
    """Whether the server refuses connections or work for now, as it does during a restart.

    A timeout does not count: it takes its own time, and may concern this one call only.
    """
    if isinstance(error, ClientError):
        code, status = _error_code_of(error), _status_of(error)
        return code in UNAVAILABLE_CODES or status in UNAVAILABLE_STATUSES
    return is_retryable(error) and not isinstance(error, TIMEOUT_ERRORS)


class S3Errors:
    """Translates the errors of one store."""

    def __init__(self, store: str, settings: S3Settings) -> None:
        self._store = store
        self._settings = settings

    def translate(
        self, operation: str, key: str | None, error: BaseException, *, on_condition: bool = False
    ) -> StoreError:
        """The StoreError for a failed call."""
        if isinstance(error, ClientError):
            return self._response_error(operation, key or "", error, on_condition=on_condition)
        return StoreError(self._store, self._connection_message(error))

    def _response_error(
        self, operation: str, key: str, error: ClientError, *, on_condition: bool
    ) -> StoreError:
        code = _error_code_of(error)
        if key and _is_gone_upload(operation, code):
            return WriteDiscarded(self._store, key)
        if key and _is_missing_object(operation, code):
            return BlobMissing(self._store, key)
        if on_condition and code in PRECONDITION_FAILED_CODES:
            return BlobExists(self._store, key)
        if on_condition and code == "NotImplemented":
            return ConditionalWritesUnsupported(self._store, "knows no conditional writes")
        if code in NO_SPACE_CODES | TOO_LARGE_CODES:
            why = f"has no room in {self._bucket} ({code}): free some, or raise its quota"
            return StoreFull(self._store, why)
        return StoreError(self._store, self._message(operation, code))

    def _message(self, operation: str, code: str) -> str:
        if code in ACCESS_DENIED_CODES:
            right = PERMISSIONS.get(operation, WRITE_PERMISSION)
            return (
                f"was refused {_operation_name(operation)} in {self._bucket} ({code}): "
                f"allow its access key {right}, if the keys are right"
            )
        if operation == "list_multipart_uploads" and code in NO_UPLOAD_CODES:
            return (
                f"does not list the uploads that are not finished in {self._bucket} ({code}), so "
                "what a crash leaves could not be found: use another server"
            )
        if code in PRECONDITION_FAILED_CODES:
            return f"has another object than before: {_operation_name(operation)} in {self._bucket}"
        why = f"cannot do {_operation_name(operation)} in {self._bucket}: it answered {code}"
        return f"{why}; {CODE_REMEDIES[code]}" if code in CODE_REMEDIES else why

    def _connection_message(self, error: BaseException) -> str:
        where = self._settings.where
        for kinds, sentence in CONNECTION_MESSAGES:
            if isinstance(error, kinds):
                return sentence % where
        return f"cannot be used at {where}: {type(error).__name__}"

    @property
    def _bucket(self) -> str:
        return f"the bucket {self._settings.bucket!r} at {self._settings.where}"


def _is_gone_upload(operation: str, code: str) -> bool:
    """Whether the upload that a call names was aborted, was completed or never existed."""
    return code == "NoSuchUpload" or (operation in UPLOAD_OPERATIONS and code == "NoSuchKey")


def _is_missing_object(operation: str, code: str) -> bool:
    """Whether the object that a call names does not exist.

    Only answers to HEAD lack a body that says so; a bare 404 to any other call comes from a proxy.
    """
    return code == "NoSuchKey" or (operation == "head_object" and code in {"404", "NotFound"})


def _error_code_of(error: ClientError) -> str:
    """The name of the error; the status if it has none, as in answers to HEAD."""
    response: Mapping[str, Any] = error.response
    return str(response.get("Error", {}).get("Code") or _status_of(error))


def _status_of(error: ClientError) -> int:
    response: Mapping[str, Any] = error.response
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _operation_name(operation: str) -> str:
    return operation.title().replace("_", "").removesuffix("V2")
