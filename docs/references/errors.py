"""Makes the page of the errors, from the tree in ``core/errors`` and their statuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from imaged.api import http_errors
from imaged.api.error_responses import (
    BAD_GATEWAY,
    INTERNAL_ERROR,
    INTERNAL_ERROR_SENTENCE,
    STATUSES,
    TITLES,
    UNAVAILABLE,
)
from imaged.core import errors
from imaged.server import raw_responses
from references.markdown import MADE, code, first_paragraph, table

_HEAD = f"""\
# Errors

{MADE}

For users who got an answer with a status from 400 on. It has one sentence that says what is wrong
with the request: as JSON (`message`, `code`, `title`) where the header `Accept` names
`application/json`, as plain text otherwise. Its header `X-Openstack-Request-Id` is the `request_id`
of the lines in the log, which have more details, such as paths and hosts that clients do not see.

The first column is the `error_type` in the log.
"""

_WIRE_HEAD = """\
## Before any of these

The server sends these answers in plain text, and closes the connection.
"""

_AGAIN = "Try again; if it persists, the operator finds `request.failed` in the log."
_OPERATOR = "Tell the operator, with the id of the request: the log has a traceback."

#: The remedy for each error; an error without a row fails the generation.
ADVICE: Mapping[type[BaseException], str] = {
    Exception: _OPERATOR,
    errors.ImagedError: _OPERATOR,
    errors.ImageNotFound: "Check the id, and whether the project of the token may see the image.",
    errors.TagNotFound: "Nothing: the image does not have the tag.",
    errors.TaskNotFound: "Check the id; only the project that created a task sees it, and its "
    "record is deleted some time after its end.",
    errors.TaskNotFinal: "Wait for its end, or cancel it first.",
    errors.TaskFinal: "Nothing: it has ended.",
    errors.TaskFailed: "Do what the sentence says, and create it again.",
    errors.TaskStalled: "Wait: the task is repeated. If it persists, a disk or a server hangs.",
    errors.ImageExists: "Choose another id, or let imaged choose one.",
    errors.ImageDeleted: "Nothing: the image was deleted meanwhile. imaged removes its bytes.",
    errors.ImageProtected: "Set `protected` to false first, to delete it.",
    errors.InvalidTransition: "Check the image's status, and [what may follow](statuses.md).",
    errors.ActivationRefused: "Check the status of the image.",
    errors.ImportNotReady: "Check the status of the image, and whether data was staged.",
    errors.FormatsChanged: "Repeat the call: the data is then checked as the current formats.",
    errors.FormatsUnset: "Set `disk_format` and `container_format`, and send the data again.",
    errors.NotRestorable: "It cannot be restored; create it again.",
    errors.NotPermitted: "Use a token with the role, or of the project, that the sentence names.",
    errors.DataForbidden: "Ask an administrator why the image is deactivated.",
    errors.InvalidRequest: "Correct what the sentence names.",
    errors.InvalidAttribute: "Correct the attribute; [schemas](schemas.md) has what is allowed.",
    errors.InvalidQuery: "Correct the parameter; [the calls](api.md) have what is allowed.",
    errors.InvalidInput: "Correct the field; [tasks](tasks.md) has the input of each type.",
    errors.UnknownStore: "Name one of `GET /v2/info/stores`, or none.",
    errors.UnknownTaskType: "Name one of those in [tasks](tasks.md).",
    errors.ReadOnlyAttribute: "Leave the attribute out; [schemas](schemas.md) says how it is set.",
    errors.PropertyConflict: "Show the image, and patch existing properties.",
    errors.PropertiesTooLarge: "Remove properties, or have the operator raise "
    "`uploads.max_properties_size`.",
    errors.TooMany: "Remove some first.",
    errors.UnsatisfiableRange: "Ask for a range within the size, which `Content-Range` tells.",
    errors.DataRefused: "Send data of the declared format and digest.",
    errors.SizeMismatch: "Send all of it again: the image is queued again.",
    errors.RetryMismatch: "Send the whole file again, from its first byte. To send another file "
    "on purpose, set the header `X-Imaged-Replace: true`, or wait for `uploads.remember_broken`.",
    errors.TooLarge: "Send less, or have the operator raise `uploads.max_size`.",
    errors.FormatRefused: "Do what the sentence says: it names the `disk_format` that fits, or the "
    "remedy ([formats](formats.md) lists them all).",
    errors.DataDamaged: "Tell the operator, who finds `image.damaged` in the log and restores the "
    "data from a backup. Retrying does not help.",
    errors.ClientVanished: "Send it again: the image is queued again.",
    errors.FetchFailed: "Check the answer of the host, and try again.",
    errors.FetchRefused: "Have the operator allow the address in `[fetch]`, if it is meant.",
    errors.ConversionFailed: "Check the image: it may be damaged, or of another format.",
    errors.ConversionRefused: "Use one of the formats that the sentence names.",
    errors.TooManyTasks: "Wait, or cancel some, or have the operator raise "
    "`tasks.max_unfinished_per_owner`.",
    errors.QuotaExceeded: "Delete images, or have the operator raise the quota (`imaged quota`). "
    "Deleted images count until their bytes are gone.",
    errors.ClaimLost: "Send it again. If it persists, see `lease.renewal_failed` in the log.",
    errors.BlobGone: "Nothing: the bytes were deleted meanwhile.",
    errors.StoreError: "Try again later; the operator finds `request.failed` in the log.",
    errors.StoreFull: "Have the operator make room: `store.full` is in the log.",
    errors.WrongPlace: "The operator finds what to do in the log, in `health.degraded`.",
    errors.MarkerRefused: "The same.",
    errors.BlobMissing: "Have the operator run `imaged reconcile`, and restore the bytes.",
    errors.BlobExists: _AGAIN,
    errors.WriteDiscarded: _AGAIN,
    errors.ExportError: "Try again later; the log has the destination's error.",
    errors.ExportExists: "Choose another `file_name`.",
    errors.ExportFull: "Have the operator make room at the destination.",
    errors.ScratchError: "Have the operator check `conversion.scratch`.",
    errors.ScratchFull: "Try again later, or have the operator make room in `conversion.scratch`.",
    errors.SecretKeyUnavailable: "Have the operator check `tasks.key_file`; tasks without "
    "secrets work.",
    errors.SecretUnreadable: "Create the task again: the key was changed meanwhile.",
    errors.CatalogError: "Try again later; the operator finds `request.failed` in the log.",
    errors.CatalogFull: "Have the operator make room on the disk of the catalog; `/readyz` and "
    "`imaged doctor` say when there is room again.",
    errors.ListTooSlow: "Use fewer filters or a smaller `limit`, or try later. Lists have "
    "connections of their own and 5 s each, so that they delay no other call.",
    errors.CatalogUnavailable: "Try again in a moment: the catalog is down, or busy. Uploads in "
    "flight wait for it while their leases hold.",
    errors.CatalogMissing: "The operator corrects `catalog.url`, or restores the catalog.",
    errors.CatalogTooNew: "The operator starts the version that wrote the catalog.",
    errors.CatalogTooOld: "The operator runs `imaged migrate`.",
    http_errors.NoSuchPath: "Check the path; [the calls](api.md) lists all paths.",
    http_errors.MethodNotAllowed: "Use one of the methods in the header `Allow`.",
    http_errors.MediaTypeRefused: "Send the `Content-Type` that the sentence names.",
    http_errors.EncodingRefused: "Unpack the body, and send it without `Content-Encoding`.",
    http_errors.LengthRequired: "Send the length of the data, or send it in chunks.",
    http_errors.NotModified: "Nothing: the image exists, as the condition asked.",
    http_errors.PreconditionFailed: "Repeat it without the condition, or with `If-Match: *`: "
    "imaged gives no ETags, so none can match.",
    http_errors.BodyTooLarge: "Send a smaller body; data goes to `…/file`.",
    http_errors.BodyTooSlow: "Send it again, over a faster connection.",
    http_errors.HostRefused: "Use localhost, or have the operator set `api.public_url`.",
    http_errors.CrossSiteRefused: "Use no browser, or have the operator set up tokens.",
    http_errors.MetricsTokenMissing: "Send the token of `metrics.token_file`, or have the operator "
    "give the metrics an address of their own in `metrics.bind`.",
    http_errors.Unauthenticated: "Send a known token in `X-Auth-Token`.",
}

#: Answers of the server before a request is parsed: status, text, remedy.
WIRE: Sequence[tuple[int, str, str]] = (
    (
        400,
        raw_responses.MALFORMED_REQUEST,
        "Check the client and proxies: two parsers could read the request differently.",
    ),
    (
        408,
        raw_responses.HEADER_TIMED_OUT,
        "Send the header at once; `api.header_timeout` is the limit.",
    ),
    (431, raw_responses.HEADER_TOO_LARGE, "Send less; `api.max_header_size` is the limit."),
    (
        503,
        raw_responses.TOO_MANY_CONNECTIONS,
        "Try again after `Retry-After`, or raise `api.max_connections`.",
    ),
    (503, raw_responses.SHUTTING_DOWN, "Try again after `Retry-After`, or use another instance."),
)


_UPLOADS = (
    f"An upload gets {BAD_GATEWAY} {TITLES[BAD_GATEWAY]} instead, once a part of its file was "
    "sent: many clients repeat a request by themselves after 503, and then send only the rest of "
    "the file.\n"
)


def reference() -> str:
    """The page, a section for each status."""
    wire = table(
        ("status", "what it says", "what to do"),
        ((f"{status} {TITLES[status]}", says, advice) for status, says, advice in WIRE),
    )
    return "\n".join([_HEAD, *_sections(), _WIRE_HEAD, wire])


def _sections() -> Iterator[str]:
    for status in sorted(set(STATUSES.values())):
        yield f"## {status} {TITLES[status]}\n"
        if status == UNAVAILABLE:
            yield _UPLOADS
        if status == INTERNAL_ERROR:
            yield f'A bug of imaged always says: "{INTERNAL_ERROR_SENTENCE}"\n'
        yield table(
            ("error", "when", "what to do"),
            (
                (code(error.__name__), _when(error), ADVICE[error])
                for error, its_status in STATUSES.items()
                if its_status == status
            ),
        )


def _when(error: type[BaseException]) -> str:
    return "Any unexpected exception." if error is Exception else first_paragraph(error)
