"""Makes the page of the API calls, from the application's paths and the errors that each raises.

A path without a row here, or a row without a path, fails the generation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imaged.api import http_errors
from imaged.api.app import ApiServices, paths
from imaged.api.http_errors import BAD_GATEWAY
from imaged.api.images import ImportCalls
from imaged.api.listing import DEFAULT_LIMIT, MAX_LIMIT
from imaged.api.resource import Handler, Links
from imaged.core import errors
from references import versions
from references.markdown import MADE, code, first_paragraph, table

IMAGE = "/v2/images/{image_id}"
TASK = "/v2/tasks/{task_id}"

_HEAD = f"""\
# Calls

{MADE}

For authors and users of clients: every path that is served, and the
differences from the documentation of the OpenStack Image API v2, which holds
for the rest. [Errors](errors.md) lists the answers with statuses from 400 on; [schemas](schemas.md)
has the attributes of an image.

Besides those in the tables, every call below `/v2` may answer 401 where `auth.method` asks for
tokens, 404 for a path that is not served, 405 for another method, 408 where the client stalls, 412
where its `If-Match` or `If-None-Match` does not hold, 503 while the catalog does not answer, and
500 for a bug of imaged. Every answer has the header `X-Openstack-Request-Id`. HEAD works wherever
GET does, with the same header and no content; OPTIONS answers 204 with the methods in `Allow`.

**Ours:** answers with an image have its `ETag`. With it in `If-Match`, a change of the image, or of
what is below it, is made only if the image is still the same; otherwise 412, with the present ETag.
With `If-None-Match`, showing an image that is still the same answers 304.

A body in JSON must have the `Content-Type` `application/json` (a patch: one of its own two), data
`application/octet-stream`, and neither may have a `Content-Encoding`; or else 415.
"""


@dataclass(frozen=True)
class Call:
    """Facts about a call that its handler does not state: errors, notes, other statuses."""

    raises: tuple[type[errors.ImagedError], ...] = ()
    note: str = ""
    also: tuple[int, ...] = ()  # statuses below 400 that the handler's docstring does not name


_WRITE = (errors.ImageNotFound, errors.NotPermitted)
_JSON = (errors.InvalidRequest, http_errors.BodyTooLarge, http_errors.MediaTypeRefused)
_BODY = (*_JSON, errors.InvalidAttribute, errors.TooMany, errors.PropertiesTooLarge)
_DATA = (
    *_WRITE,
    errors.InvalidRequest,
    errors.UnknownStore,
    errors.FormatsUnset,
    errors.InvalidTransition,
    errors.ImageDeleted,
    errors.SizeMismatch,
    errors.RetryMismatch,
    errors.TooLarge,
    errors.FormatRefused,
    errors.QuotaExceeded,
    errors.StoreFull,
    http_errors.MediaTypeRefused,
    http_errors.LengthRequired,
)
_IMPORT = (*_WRITE, *_JSON, errors.ImportNotReady, errors.InvalidTransition)
_ATTRIBUTES = (*_BODY, errors.ReadOnlyAttribute, errors.NotPermitted)

CALLS: Mapping[tuple[str, str], Call] = {
    ("GET", "/"): Call(note="A browser gets a page, with 200."),
    ("GET", "/versions"): Call(),
    ("GET", "/livez"): Call(note="**Ours.** For supervisors that restart a hanging process."),
    ("GET", "/readyz"): Call(note="**Ours.** For proxies: also 503 while it stops."),
    ("GET", "/healthcheck"): Call(note="The same as `/readyz`."),
    ("GET", "/v2"): Call(also=(302,)),
    ("GET", "/v2/"): Call(note="The same as `/versions`."),
    ("GET", "/v2/images"): Call(
        (errors.InvalidQuery,),
        f"`limit` is {DEFAULT_LIMIT} by default, and {MAX_LIMIT:,} at most; a page ends "
        "earlier at `api.max_page_size`. A parameter that is in none of the rows below is the name "
        "of a property. Of a filter that comes several times the last counts, but for `tag`; links "
        "repeat all parameters (Glance's lose repeated ones).",
    ),
    ("POST", "/v2/images"): Call(
        (*_ATTRIBUTES, errors.ImageExists),
        "An id is never used twice, not even after its image was deleted. A body that has a name "
        "twice is refused.",
    ),
    ("GET", IMAGE): Call(
        (errors.ImageNotFound,),
        "**Ours:** `imaged_last_failure`, for the owner and administrators, says why the last "
        "upload failed; `imaged_notice` says if the data does not look like a disk.",
    ),
    ("GET", f"{IMAGE}/history"): Call(
        (errors.ImageNotFound,),
        "**Ours.** The last 100 changes, the oldest first, each with its time, `action` and "
        "`details`. The owner sees users (`user_id`, `project_id`, `request_id`), administrators "
        "addresses too (`peer`). For both it stays readable when the image is deleted, as long as "
        "`scrubber.keep_records`, and `scrub_due_at` says until when it can be restored. "
        "`unreadable_entries` is the number of entries that are damaged in the catalog.",
    ),
    ("PATCH", IMAGE): Call(
        (
            *_ATTRIBUTES,
            errors.ImageNotFound,
            errors.PropertyConflict,
        ),
        "All operations, or none. Takes both media types of the API; `locations` are never set.",
    ),
    ("DELETE", IMAGE): Call(
        (*_WRITE, errors.ImageProtected),
        "Works in every status, also during an upload, which then gets 410. **Ours:** the "
        "image waits for `scrubber.delay`, and the operator can restore it until then.",
    ),
    ("GET", f"{IMAGE}/file"): Call(
        (
            errors.ImageNotFound,
            errors.DataForbidden,
            errors.InvalidRequest,
            errors.UnsatisfiableRange,
            errors.StoreError,
        ),
        "One range (`Range`) is served; for several ranges, or another unit, "
        "the whole is sent. A failed answer ends with its connection, so that the client does not "
        "mistake a part for the whole.",
    ),
    ("HEAD", f"{IMAGE}/file"): Call(
        (errors.ImageNotFound, errors.DataForbidden), "No store is asked, and a `Range` is ignored."
    ),
    ("PUT", f"{IMAGE}/file"): Call(
        _DATA,
        also=(BAD_GATEWAY,),
        note="After a failure the image is `queued` again (or "
        "`killed`, if so configured), and the upload can be repeated, from the file's first byte: "
        "a body that begins unlike the broken upload gets 409. `X-Image-Meta-Store` names "
        "the store. A part (`Content-Range`) is refused, and so is data without length or chunks. "
        "**Ours:** `X-Imaged-Replace: true` sends another file on purpose. "
        "Data that is not of its `disk_format`, and disk images that make "
        "their reader open other files, are refused.",
    ),
    ("PUT", f"{IMAGE}/stage"): Call(
        _DATA,
        also=(BAD_GATEWAY,),
        note="The data waits in the image, which is `uploading`, for an import by "
        "`glance-direct`, and `uploads.staged_time_to_live` at most. It stays when an import "
        "fails. **Ours:** `X-Imaged-Replace: true` puts other data in its place.",
    ),
    ("POST", f"{IMAGE}/import"): Call(
        (*_IMPORT, errors.UnknownStore),
        "Names one store at most. `…/tasks` shows its progress. After a failure the image is "
        "`uploading` again if its data was staged, otherwise `queued`, and the call can be "
        "repeated. It fails if the formats are patched meanwhile: the data was checked as the "
        "formats that the image had.",
    ),
    ("POST", f"{IMAGE}/locations"): Call(
        (*_IMPORT, errors.InvalidInput),
        "The data at `url` is fetched and kept; the URL itself is not.",
    ),
    ("GET", f"{IMAGE}/tasks"): Call((errors.ImageNotFound,), "Also the task that created it."),
    ("POST", f"{IMAGE}/actions/deactivate"): Call((*_WRITE, errors.ActivationRefused)),
    ("POST", f"{IMAGE}/actions/reactivate"): Call((*_WRITE, errors.ActivationRefused)),
    ("PUT", f"{IMAGE}/tags/{{tag}}"): Call((*_WRITE, errors.InvalidAttribute, errors.TooMany)),
    ("DELETE", f"{IMAGE}/tags/{{tag}}"): Call((*_WRITE, errors.TagNotFound)),
    ("GET", f"{IMAGE}/members"): Call(
        (errors.ImageNotFound, errors.NotShared),
        "The owner's project and administrators see all members, a member itself only.",
    ),
    ("POST", f"{IMAGE}/members"): Call(
        (
            *_WRITE,
            *_JSON,
            errors.InvalidAttribute,
            errors.NotShared,
            errors.MemberExists,
            errors.TooManyMembers,
        ),
        'The body is `{"member": PROJECT}`. For the owner, of an image whose `visibility` is '
        "`shared`; at most `images.max_members`.",
    ),
    ("GET", f"{IMAGE}/members/{{member_id}}"): Call(
        (errors.ImageNotFound, errors.MemberNotFound),
    ),
    ("PUT", f"{IMAGE}/members/{{member_id}}"): Call(
        (*_WRITE, *_JSON, errors.InvalidAttribute, errors.NotShared, errors.MemberNotFound),
        'The body is `{"status": STATUS}`: `pending`, `accepted` or `rejected`. For the member, '
        "and not for the owner. Its answer decides whether its lists have the image.",
    ),
    ("DELETE", f"{IMAGE}/members/{{member_id}}"): Call(
        (*_WRITE, errors.NotShared, errors.MemberNotFound), "For the owner."
    ),
    ("GET", "/v2/tasks"): Call(
        (errors.InvalidQuery, errors.NotPermitted),
        "Without their inputs and results. **Ours:** the filters `owner` and `image_id`.",
    ),
    ("POST", "/v2/tasks"): Call(
        (
            *_ATTRIBUTES,
            errors.UnknownTaskType,
            errors.InvalidInput,
            errors.ImageNotFound,
            errors.DataForbidden,
            errors.InvalidTransition,
            errors.ImageExists,
            errors.ExportError,
            errors.SecretKeyUnavailable,
        ),
        "[Tasks](tasks.md) has the types, and the input of each.",
    ),
    ("GET", TASK): Call((errors.TaskNotFound, errors.NotPermitted)),
    ("DELETE", TASK): Call(
        (errors.TaskNotFound, errors.NotPermitted, errors.TaskNotFinal), "**Ours.**"
    ),
    ("POST", f"{TASK}/actions/cancel"): Call(
        (errors.TaskNotFound, errors.NotPermitted, errors.TaskFinal), "**Ours.**"
    ),
    ("GET", "/v2/info/import"): Call(),
    ("GET", "/v2/info/stores"): Call(),
    ("GET", "/v2/info/usage"): Call(
        note="Sizes are in MiB, rounded down. Glance answers with an empty object unless it uses "
        "unified limits; imaged always tells."
    ),
    ("GET", "/v2/info/stores/detail"): Call((errors.NotPermitted,), "For administrators."),
    ("GET", "/v2/schemas/image"): Call(),
    ("GET", "/v2/schemas/images"): Call(),
    ("GET", "/v2/schemas/member"): Call(),
    ("GET", "/v2/schemas/members"): Call(),
    ("GET", "/v2/schemas/task"): Call(),
    ("GET", "/v2/schemas/tasks"): Call(),
}

#: Parameters of lists, and which images they select.
FILTERS: Mapping[str, str] = {
    "`name`, `id`, `status`, `disk_format`, `container_format`": "those with this value; `in:a,b` "
    'for one of several, `in:"a,b",c` where one has a comma. Text before a colon that is no '
    "operator is part of the value: `name=ubuntu:22.04` (400 in Glance); `eq:` takes everything "
    "behind it literally",
    "`owner`, `checksum`, `os_hash_algo`, `os_hash_value`, `protected`, any property": "those with "
    "this value",
    "`size`, `virtual_size`, `min_ram`, `min_disk`": "those with this number; with `_min` "
    "or `_max` behind the name, from or up to it",
    "`created_at`, `updated_at`": "those of this moment (ISO 8601), or before or after it with "
    "`lt:`, `lte:`, `gt:`, `gte:`, `neq:`",
    "`tag`": "those with this tag; with all of them, where it comes several times",
    "`visibility`": "those of this visibility; `all` for all images",
    "`member_status`": "of those shared with the project of the caller, which others come with: "
    "`accepted` (the default), `pending`, `rejected`, or `all`",
    "`os_hidden`": "`true`: the hidden ones instead of the others",
    "`sort`, or `sort_key` and `sort_dir`": "in this order: `sort=name:asc,size:desc`",
    "`deleted`": "`true`: none, because no list has deleted images (Glance ignores it)",
    "`limit`, `marker`": "this number, after the image with this id; `next` in the answer has both",
}

_SECTIONS: Mapping[str, str] = {
    "/v2/images": "Images",
    "/v2/tasks": "Tasks",
    "/v2/info": "Stores and imports",
    "/v2/schemas": "Schemas",
    "": "Versions and health",
}


class _Nothing:
    """A stand-in for the services and their attributes; it is never called."""

    def __getattr__(self, name: str) -> _Nothing:
        return self


def reference() -> str:
    """The page, a section for each kind of resource."""
    served = handlers()
    if served.keys() != CALLS.keys():
        raise LookupError(f"not described, or not served: {sorted(served.keys() ^ CALLS.keys())}")
    calls = (f"{method} {path}" for method, path in served)
    return "\n".join([_HEAD, *_tables(served), versions.section(calls)])


def handlers() -> Mapping[tuple[str, str], Handler]:
    """The handler of each method of each path; this needs no services."""
    nothing: Any = _Nothing()
    services = ApiServices(
        images=nothing,
        members=nothing,
        uploads=nothing,
        downloads=nothing,
        sent_downloads=nothing,
        tasks=nothing,
        imports=ImportCalls(nothing, nothing, nothing),
        health=nothing,
        usage=nothing,
    )
    table = paths(services, Links(""), stores=())
    return {
        (method, path): handler
        for path, resource in table.items()
        for method, handler in resource.handlers.items()
    }


def statuses(method: str, path: str) -> list[int]:
    """All statuses of a call, except those that every call may answer."""
    call, handler = CALLS[method, path], handlers()[method, path]
    told = {int(number) for number in re.findall(r"\b[2-5]\d\d\b", first_paragraph(handler))}
    failures = {error.http_status for error in call.raises if error.http_status is not None}
    return sorted(told | failures | set(call.also))


def _tables(served: Mapping[tuple[str, str], Handler]) -> Iterator[str]:
    by_section: dict[str, list[tuple[str, str]]] = {title: [] for title in _SECTIONS.values()}
    for method, path in served:
        title = next(title for prefix, title in _SECTIONS.items() if path.startswith(prefix))
        by_section[title].append((method, path))
    for title, calls in by_section.items():
        yield f"## {title}\n"
        yield table(("call", "statuses", ""), (_row(method, path) for method, path in calls))
        if title == "Images":
            yield "### Parameters of lists\n"
            yield table(("parameter", "images listed"), FILTERS.items())


def _row(method: str, path: str) -> tuple[str, str, str]:
    what = first_paragraph(handlers()[method, path])
    numbers = ", ".join(str(status) for status in statuses(method, path))
    return code(f"{method} {path}"), numbers, f"{what} {CALLS[method, path].note}"
