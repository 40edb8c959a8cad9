"""Makes the page of the errors: from the tree in ``core/errors`` and the table of ``problems``."""

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

For those who got an answer from 400 on. It has a status, and one sentence that says what is wrong
with this request: as JSON (`message`, `code`, `title`) where the header `Accept` names
`application/json`, as plain text otherwise. Its header `X-Openstack-Request-Id` is the `request_id`
of the lines in the log, which say more, such as paths and hosts that clients are not told.

The first column has the name that the log calls `error_type`.
"""

_WIRE_HEAD = """\
## Before any of these

Some answers come from the server, in plain text, and the connection is closed behind them.
"""

_AGAIN = "Try again; if it goes on, the operator finds `request.failed` in the log."
_OPERATOR = "Tell the operator, with the id of the request: the log has a traceback."

#: What to do about each; an error that has no row fails the making of the page.
ADVICE: Mapping[type[BaseException], str] = {
    Exception: _OPERATOR,
    errors.ImagedError: _OPERATOR,
    errors.ImageNotFound: "Look at the id, and whether the project of the token may see the image.",
    errors.TagNotFound: "Nothing: it is not there.",
    errors.TaskNotFound: "Look at the id; tasks are seen by the project that asked for them, and "
    "their records go some time after their end.",
    errors.TaskNotFinal: "Wait for its end, or cancel it first.",
    errors.TaskFinal: "Nothing: it has ended.",
    errors.TaskFailed: "Do what the sentence says, and ask again.",
    errors.TaskStalled: "Wait: the task is tried again. If it goes on, a disk or a server hangs.",
    errors.ImageExists: "Choose another id, or let imaged choose one.",
    errors.ImageDeleted: "Nothing: somebody deleted it meanwhile. Its bytes go by themselves.",
    errors.ImageProtected: "Set `protected` to false first, if it really may go.",
    errors.InvalidTransition: "Look at the image's status, and at [what may follow](statuses.md).",
    errors.ActivationRefused: "Look at the status of the image.",
    errors.ImportNotReady: "Look at the status of the image, and whether data was staged.",
    errors.FormatsChanged: "Ask again: the data is judged as what the image says now.",
    errors.FormatsUnset: "Set `disk_format` and `container_format`, and send the data again.",
    errors.NotRestorable: "Nothing brings it back; create it anew.",
    errors.NotPermitted: "Use a token with the role, or of the project, that the sentence names.",
    errors.DataForbidden: "Ask an administrator why the image is deactivated.",
    errors.InvalidRequest: "Correct what the sentence names.",
    errors.InvalidAttribute: "Correct the attribute; [schemas](schemas.md) has what is allowed.",
    errors.InvalidQuery: "Correct the parameter; [the calls](api.md) have what is allowed.",
    errors.InvalidInput: "Correct the field; [tasks](tasks.md) has the input of each type.",
    errors.UnknownStore: "Name one of `GET /v2/info/stores`, or none.",
    errors.UnknownTaskType: "Name one of those in [tasks](tasks.md).",
    errors.ReadOnlyAttribute: "Leave the attribute out; [schemas](schemas.md) says who writes it.",
    errors.PropertyConflict: "Show the image, and patch what is there.",
    errors.PropertiesTooLarge: "Remove properties, or have the operator raise "
    "`uploads.max_properties_size`.",
    errors.TooMany: "Remove some first.",
    errors.UnsatisfiableRange: "Ask for a range within the size, which `Content-Range` tells.",
    errors.DataRefused: "Send data that is what it is said to be.",
    errors.SizeMismatch: "Send it again, whole: the image is queued again.",
    errors.RetryMismatch: "Send the whole file again, from its first byte. To send another file "
    "on purpose, set the header `X-Imaged-Replace: true`, or wait for `uploads.remember_broken`.",
    errors.TooLarge: "Send less, or have the operator raise `uploads.max_size`.",
    errors.FormatRefused: "Do what the sentence says: it names the `disk_format` that fits, or the "
    "remedy ([formats](formats.md) lists them all).",
    errors.DataDamaged: "Tell the operator, who finds `image.damaged` in the log and restores the "
    "data from a backup. Asking again does not help.",
    errors.ClientVanished: "Send it again: the image is queued again.",
    errors.FetchFailed: "Look at what the host says, and ask again.",
    errors.FetchRefused: "Have the operator allow it in `[fetch]`, if it really is to be reached.",
    errors.ConversionFailed: "Look at the image: it may be damaged, or of another format.",
    errors.ConversionRefused: "Ask for one of the formats that the sentence names.",
    errors.TooManyTasks: "Wait, or cancel some, or have the operator raise "
    "`tasks.max_unfinished_per_owner`.",
    errors.QuotaExceeded: "Delete images, or have the operator raise the quota (`imaged quota`). "
    "Deleted images count until their bytes are gone.",
    errors.ClaimLost: "Send it again. If it goes on, the operator looks at `lease.renewal_failed`.",
    errors.BlobGone: "Nothing: the bytes were deleted meanwhile.",
    errors.StoreError: "Try again later; the operator finds `request.failed` in the log.",
    errors.StoreFull: "Have the operator make room: `store.full` is in the log.",
    errors.WrongPlace: "The operator finds what to do in the log, in `health.degraded`.",
    errors.MarkerRefused: "The same.",
    errors.BlobMissing: "Have the operator run `imaged reconcile`, and restore the bytes.",
    errors.BlobExists: _AGAIN,
    errors.WriteDiscarded: _AGAIN,
    errors.ExportError: "Try again later; the log has what the destination said.",
    errors.ExportExists: "Choose another `file_name`.",
    errors.ExportFull: "Have the operator make room at the destination.",
    errors.ScratchError: "Have the operator look at `conversion.scratch`.",
    errors.ScratchFull: "Try again later, or have the operator make room in `conversion.scratch`.",
    errors.SecretKeyUnavailable: "Have the operator look at `tasks.key_file`; it works "
    "without secrets.",
    errors.SecretUnreadable: "Ask again: the key was changed meanwhile.",
    errors.CatalogError: "Try again later; the operator finds `request.failed` in the log.",
    errors.CatalogFull: "Have the operator make room on the disk of the catalog; `/readyz` and "
    "`imaged doctor` say when there is room again.",
    errors.ListTooSlow: "Ask for less: fewer filters, a smaller `limit`; or later. Lists have "
    "connections of their own and 5 s each, so that they hold up nothing else.",
    errors.CatalogUnavailable: "Try again in a moment: the catalog is away, or busy. Uploads under "
    "way wait for it, for as long as their leases hold.",
    errors.CatalogMissing: "The operator corrects `catalog.url`, or restores the catalog.",
    errors.CatalogTooNew: "The operator starts the version that wrote the catalog.",
    errors.CatalogTooOld: "The operator runs `imaged migrate`.",
    http_errors.NoSuchPath: "Look at the address; [the calls](api.md) have all that there are.",
    http_errors.MethodNotAllowed: "Use one of the methods in the header `Allow`.",
    http_errors.MediaTypeRefused: "Send the `Content-Type` that the sentence names.",
    http_errors.EncodingRefused: "Unpack the body, and send it without `Content-Encoding`.",
    http_errors.LengthRequired: "Send the length of the data, or send it in chunks.",
    http_errors.NotModified: "Nothing: what is there exists, as the condition asked.",
    http_errors.PreconditionFailed: "Ask again without the condition, or with `If-Match: *`: "
    "imaged gives no ETags, so none can match.",
    http_errors.BodyTooLarge: "Send a smaller body; data goes to `…/file`.",
    http_errors.BodyTooSlow: "Send it again, over a line that carries more.",
    http_errors.HostRefused: "Ask for localhost, or have the operator set `api.public_url`.",
    http_errors.CrossSiteRefused: "Ask with a program, or have the operator choose tokens.",
    http_errors.MetricsTokenMissing: "Show the token of `metrics.token_file`, or have the operator "
    "give the figures an address of their own in `metrics.bind`.",
    http_errors.Unauthenticated: "Send a token that is known, in `X-Auth-Token`.",
}

#: Answers that come before a request is one: status, what they say, what to do.
WIRE: Sequence[tuple[int, str, str]] = (
    (
        400,
        raw_responses.MALFORMED_REQUEST,
        "Look at what stands between: two readers of it could disagree.",
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
    (503, raw_responses.SHUTTING_DOWN, "Try again after `Retry-After`, or ask another instance."),
)


_UPLOADS = (
    f"An upload gets {BAD_GATEWAY} {TITLES[BAD_GATEWAY]} instead, as soon as some of its file is "
    "on its way: many clients repeat a request by themselves after 503, and of the file they send "
    "the rest alone.\n"
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
            yield f'A mistake of ours always says: "{INTERNAL_ERROR_SENTENCE}"\n'
        yield table(
            ("error", "when", "what to do"),
            (
                (code(error.__name__), _when(error), ADVICE[error])
                for error, its_status in STATUSES.items()
                if its_status == status
            ),
        )


def _when(error: type[BaseException]) -> str:
    return "Anything that nobody thought of." if error is Exception else first_paragraph(error)
