"""Every error has its status, and no answer tells what is not the client's."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from starlette.responses import Response

import imaged
from imaged.api.accept import wants_json
from imaged.api.http_errors import (
    TITLES,
    HttpError,
    MediaTypeRefused,
    MethodNotAllowed,
    Unauthenticated,
    error_response,
    status_and_sentence,
)
from imaged.core import errors

SECRET = "/srv/secret/path"


def descendants(kind: type[errors.ImagedError]) -> Iterator[type[errors.ImagedError]]:
    """Every class below, and the class itself."""
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


CORE_ERRORS = [
    kind for kind in descendants(errors.ImagedError) if kind.__module__.startswith(errors.__name__)
]
REFUSALS = [kind for kind in descendants(HttpError) if kind is not HttpError]


def shown(error: Exception, accept: str = "*/*") -> Response:
    """The answer to an error."""
    return error_response(error, accept)


class Newer(errors.InvalidQuery):
    """Has no status of its own."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.StoreFull("local", "is full"), 413),
        (errors.StoreError("local", "is broken"), 503),
        (Newer("limit", "is wrong"), 400),
        (KeyError("x"), 500),
    ],
)
def test_most_specific_status_applies(error: Exception, status: int) -> None:
    """A full store is not the same as a broken one; an error without one has that of its base."""
    assert status_and_sentence(error).status == status


@pytest.mark.parametrize("kind", [*CORE_ERRORS, *REFUSALS], ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: type[errors.ImagedError]) -> None:
    """It is decided for each what clients are told."""
    if kind is not errors.ImagedError:
        assert kind.http_status in TITLES


def test_errors_are_raised_with_what_their_sentences_say() -> None:
    """Types do not show it: the base of all errors puts the arguments into the sentence."""
    wanted = {
        kind.__name__: sum(name is not None for _, name, *_ in Formatter().parse(kind.sentence))
        for kind in (*CORE_ERRORS, *REFUSALS)
        if kind.__init__ is errors.ImagedError.__init__
    }
    found = 0
    for module in Path(imaged.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in wanted:
                    assert len(node.args) == wanted[name], f"{module}:{node.lineno}"
                    assert not node.keywords, f"{module}:{node.lineno}"
                    found += 1
                case ast.Raise(exc=ast.Name(id=name)):
                    assert not wanted.get(name), f"{module}:{node.lineno}"
    assert found > len(wanted)


@pytest.mark.parametrize(
    "error",
    [
        KeyError(SECRET),
        errors.ImagedError(SECRET),
        errors.StoreError("local", f"cannot open {SECRET}"),
        errors.StoreFull("local", f"has no room at {SECRET}"),
        errors.BlobMissing("local", SECRET),
        errors.BlobExists("local", SECRET),
        errors.WriteDiscarded("local", SECRET),
        errors.BlobGone(SECRET),
        errors.CatalogError(SECRET),
        errors.CatalogTooNew(SECRET),
        errors.CatalogTooOld(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("accept", ["*/*", "application/json"])
def test_internal_details_are_not_disclosed(error: Exception, accept: str) -> None:
    """Paths, keys and hosts of ours are for the log."""
    body = bytes(shown(error, accept).body)
    assert SECRET.encode() not in body
    assert b"Traceback" not in body


def test_text_is_status_and_sentence() -> None:
    """For clients that ask for text, the answer is plain text."""
    response = shown(errors.ImageExists("abc"), "text/plain")
    assert response.status_code == 409
    assert response.media_type == "text/plain"
    assert bytes(response.body).startswith(b"409 Conflict\n\nThe image id abc is taken")


def test_json_has_the_names_of_the_reference() -> None:
    """With Accept: JSON, the answer has the three members that clients know."""
    response = shown(errors.TagNotFound("x"), "application/json")
    assert json.loads(bytes(response.body)) == {
        "message": "The image has no tag 'x'.",
        "code": "404 Not Found",
        "title": "Not Found",
    }


@pytest.mark.parametrize("accept", ["*/*", "*/*;q=0.8, application/octet-stream"])
def test_json_for_clients_that_take_anything_has_only_objects(accept: str) -> None:
    """Glance's own client looks for the message in each member, and fails if one is a text."""
    body = json.loads(bytes(shown(errors.TagNotFound("x"), accept).body))
    assert [member.get("message") for member in body.values()] == ["The image has no tag 'x'."]


def test_half_characters_can_be_answered() -> None:
    """A sentence that quotes what cannot be encoded is encoded all the same."""
    for accept in ("*/*", "application/json"):
        assert shown(errors.ImageNotFound("\udc80"), accept).status_code == 404


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (errors.UnsatisfiableRange(5), "content-range", "bytes */5"),
        (MethodNotAllowed("PUT", ["GET", "POST"]), "allow", "GET, POST"),
        (MediaTypeRefused("", ["a"], {"Accept-Patch": "a"}), "accept-patch", "a"),
        (Unauthenticated(), "www-authenticate", 'Token realm="imaged"'),
    ],
)
def test_headers_that_belong_to_a_status(error: Exception, header: str, value: str) -> None:
    """What a status needs, it has."""
    assert shown(error).headers[header] == value


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("text/html, application/json;q=0.9", True),
        ("APPLICATION/JSON", True),
        ("*/*", True),
        ("", True),
        ("text/html", False),
        ("text/plain", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/html;q=0", True),
        ("application/json;q=0", False),
        ("application/jsonp", True),
    ],
)
def test_json_unless_text_is_asked_for(accept: str, is_json: bool) -> None:
    """Clients that send an empty header or any type show the sentence only if it is JSON."""
    assert wants_json(accept) is is_json
