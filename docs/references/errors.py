"""Makes the page of the errors, from their classes: statuses, docstrings, remedies and bases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imaged.api import http_errors
from imaged.api.http_errors import (
    BAD_GATEWAY,
    INTERNAL_ERROR,
    INTERNAL_ERROR_SENTENCE,
    TITLES,
    UNAVAILABLE,
)
from imaged.core import errors
from imaged.core.errors import ImagedError
from imaged.server import raw_responses
from references.markdown import MADE, code, first_paragraph, table

_HEAD = f"""\
# Errors

{MADE}

For users who got an answer with a status from 400 on. It has one sentence that says what is wrong
with the request: as JSON (`message`, `code`, `title`), or as plain text where the header `Accept`
names text or HTML and not `application/json`. Where `Accept` is `*/*`, the three are inside
`error`: Glance's own client, which sends that, cannot read them otherwise. The header
`X-Openstack-Request-Id` of the answer is the `request_id` of the lines in the log, which have more
details, such as paths and hosts that clients do not see.

The first column is the `error_type` in the log.
"""

_WIRE_HEAD = """\
## Before any of these

The server sends these answers in plain text, and closes the connection.
"""

_UNEXPECTED = (
    code(Exception.__name__),
    "Any unexpected exception.",
    "Tell the operator, with the id of the request: the log has a traceback.",
)

_TREE_HEAD = """\
## All errors

For authors of plugins: each under its base, which catches it too.

"""


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
    """The page: a section for each status, and the tree."""
    wire = table(
        ("status", "what it says", "what to do"),
        ((f"{status} {TITLES[status]}", says, advice) for status, says, advice in WIRE),
    )
    tree = [f"{'    ' * depth}{error.__name__}" for depth, error in _tree(ImagedError)]
    drawing = "\n".join(["```text", *tree, "```", ""])
    return "\n".join([_HEAD, *_sections(), _WIRE_HEAD, wire, _TREE_HEAD + drawing])


def answered() -> Sequence[tuple[int, type[ImagedError]]]:
    """The errors that requests are answered with, each after its HTTP status."""
    return [
        (status, error)
        for _, error in _tree(ImagedError)
        if (status := error.http_status) is not None
    ]


def _sections() -> Iterator[str]:
    rows = [
        (status, (code(error.__name__), first_paragraph(error), error.remedy))
        for status, error in answered()
    ]
    rows.append((INTERNAL_ERROR, _UNEXPECTED))
    for status in sorted({status for status, _ in rows}):
        yield f"## {status} {TITLES[status]}\n"
        if status == UNAVAILABLE:
            yield _UPLOADS
        if status == INTERNAL_ERROR:
            yield f'A bug of imaged always says: "{INTERNAL_ERROR_SENTENCE}"\n'
        yield table(
            ("error", "when", "what to do"),
            (row for its_status, row in rows if its_status == status),
        )


def _tree(error: type[ImagedError], depth: int = 0) -> Iterator[tuple[int, type[ImagedError]]]:
    yield depth, error
    for child in error.__subclasses__():
        if child.__module__.startswith((errors.__name__, http_errors.__name__)):
            yield from _tree(child, depth + 1)
