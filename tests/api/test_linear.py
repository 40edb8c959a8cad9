"""Whatever comes from outside is read in linear time: twice the input is twice the work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from multidict import CIMultiDict
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request

from imaged.api import bodies, images
from imaged.api.accept import wants_json
from imaged.api.authenticator import TokenFile, token_hash
from imaged.api.bodies import media_type_of, require_unpacked
from imaged.api.conditions import Conditions
from imaged.api.discovery import version_2_path
from imaged.api.listing import read_listing, read_task_listing
from imaged.api.range_header import parse_range
from imaged.api.resource import Links
from imaged.config.loader import load
from imaged.core import edits
from imaged.core.access import Caller
from imaged.core.edits import Action, Operation
from imaged.core.image import Image
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.fetchers.response_headers import BodyValidators, validators_of
from imaged.fetchers.ssrf_guard import parse_url
from imaged.server.request import framing_error, without_upgrade
from imaged.units import parse_duration, parse_size
from support.operation_count import LINEAR_GROWTH_LIMIT, operations, work_growth
from support.settings import configured

ALICE = Caller("alice", "p1", frozenset({"member"}))
IMAGE = Image(id="00000000-0000-4000-8000-000000000001", owner="p1")
SIZES = (200, 400, 800)

Read = Callable[[int], object]


def request(name: str, value: str) -> Request:
    """A request with one header."""
    headers = [(name.encode(), value.encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": headers}
    return Request(scope)


def names(count: int) -> list[str]:
    """Different ones."""
    return [f"n{number:04}" for number in range(count)]


def body(document: object) -> bytes:
    """JSON."""
    return json.dumps(document).encode()


def pairs(names: list[str]) -> bytes:
    """An object with these names, however often each comes."""
    return b"{%s}" % b",".join(b'"%s":1' % name.encode() for name in names)


def query(*parameters: tuple[str, str]) -> object:
    """A list of images as it was asked for."""
    return read_listing(ALICE, QueryParams(urlencode(parameters)))


def steps(count: int) -> list[dict[str, object]]:
    """A patch."""
    return [{"op": "add", "path": f"/n{number}~1~0", "value": "x"} for number in range(count)]


def answer(**headers: str) -> Any:
    """What a server of the web answered."""
    return SimpleNamespace(
        headers=CIMultiDict({name.replace("_", "-"): text for name, text in headers.items()}),
        status=206,
        content_length=None,
    )


JSON: Mapping[str, Read] = {
    "names": lambda n: bodies.parse(pairs(names(n))),
    "a name that comes twice, at the end": lambda n: bodies.parse(pairs([*names(n), "n0000"])),
    "a name that comes often": lambda n: bodies.parse(pairs(["n"] * n)),
    "the last name twice": lambda n: bodies.parse(pairs([*names(n), f"n{n - 1:04}"])),
    "objects": lambda n: bodies.parse(body([{"a": 1}] * n)),
    "objects in objects": lambda n: bodies.parse(b'{"a":' * n + b"1" + b"}" * n),
    "lists in lists": lambda n: bodies.parse(b"[" * n + b"]" * n),
    "numbers": lambda n: bodies.parse(body(list(range(n)))),
    "a long number": lambda n: bodies.parse(b"[%s]" % (b"1" * n)),
    "a text": lambda n: bodies.parse(body(["x" * n])),
    "escapes": lambda n: bodies.parse(body(["\U0001f600" * n])),
    "half a character, deep": lambda n: bodies.parse(b'{"a":' * n + b'"\\ud800"' + b"}" * n),
    "half a character before many texts": lambda n: bodies.parse(body(["\ud800", *["x"] * n])),
    "many texts before half a character": lambda n: bodies.parse(
        body({"a": ["x"] * n, "b": "\ud800"})
    ),
}

PATCHES: Mapping[str, Read] = {
    "steps": lambda n: images.read_patch(images.V2_1, steps(n)),
    "steps of the first format": lambda n: images.read_patch(
        images.V2_0, [{"add": f"/n{number}", "value": "x"} for number in range(n)]
    ),
    "a long path": lambda n: images.read_patch(
        images.V2_1, [{"op": "add", "path": "/" + "~1" * n, "value": "x"}]
    ),
    "a path of many parts": lambda n: images.read_patch(
        images.V2_1, [{"op": "add", "path": "/a" * n, "value": "x"}]
    ),
    "changes": lambda n: edits.apply(ALICE, IMAGE, images.read_patch(images.V2_1, steps(n))),
    "removals": lambda n: edits.apply(
        ALICE, IMAGE, [*[Operation(Action.ADD, name, "x") for name in names(n)],
                       *[Operation(Action.REMOVE, name) for name in names(n)]]
    ),
    "tags": lambda n: edits.new_image(ALICE, IMAGE.id, {"tags": names(n)}),
    "one tag often": lambda n: edits.new_image(ALICE, IMAGE.id, {"tags": ["n"] * n}),
    "properties": lambda n: edits.new_image(ALICE, IMAGE.id, dict.fromkeys(names(n), "x")),
    "a long property": lambda n: edits.new_image(ALICE, IMAGE.id, {"p": "x" * n}),
}  # fmt: skip

QUERIES: Mapping[str, Read] = {
    "properties": lambda n: query(*((name, "x") for name in names(n))),
    "tags": lambda n: query(*(("tag", name) for name in names(n))),
    "one of many": lambda n: query(("name", "in:" + ",".join(names(n)))),
    "quoted": lambda n: query(("name", 'in:"' + '""' * n + '"')),
    "one parameter often": lambda n: query(*[("limit", "1")] * n),
    "sort": lambda n: query(("sort", ",".join(["name:asc"] * n))),
    "sort keys": lambda n: query(*[("sort_key", "name")] * n, *[("sort_dir", "asc")] * n),
    "a long number": lambda n: query(("size", "1" * n)),
    "a long moment": lambda n: query(("created_at", "gt:" + "2" * n)),
    "a long marker": lambda n: query(("marker", "a" * n)),
    "tasks": lambda n: read_task_listing(ALICE, QueryParams("limit=1&" * n), ["import"]),
    "unknown of tasks": lambda n: read_task_listing(
        ALICE, QueryParams(urlencode([(name, "x") for name in names(n)])), ["import"]
    ),
}

HEADERS: Mapping[str, Read] = {
    "ranges": lambda n: parse_range("bytes=" + "," * n + "0-1"),
    "many ranges": lambda n: parse_range("bytes=" + "0-1," * n),
    "a long range": lambda n: parse_range("bytes=" + "9" * n + "-" + "0" * n),
    "spaces of a range": lambda n: parse_range("bytes=" + " " * n + "1" + " " * n + "x"),
    "a long unit": lambda n: parse_range("a" * n),
    "media types": lambda n: wants_json("text/html;q=0.1," * n),
    "parameters": lambda n: wants_json("application/json" + ";a=b" * n),
    "a version": lambda n: version_2_path("/", "application/vnd.openstack.images-v2" + " " * n),
    "a path": lambda n: version_2_path("/v2" + "/" * n, ""),
    "content type": lambda n: media_type_of(request("content-type", "a;" * n)),
    "codings": lambda n: require_unpacked(request("content-encoding", "identity," * n)),
    "tags of a condition": lambda n: Conditions.of(Headers({"if-match": '"a",' * n})),
    "quotes of a condition": lambda n: Conditions.of(Headers({"if-none-match": '"' * n})),
    "a long tag of a condition": lambda n: Conditions.of(Headers({"if-match": 'W/"' + "a" * n})),
    "a host": lambda n: Links("").absolute(request("host", "a." * n + "/"), "/"),
    "a token": lambda n: token_hash("t" * n),
    "headers": lambda n: framing_error(b"GET", b"/", "1.1", [(b"a", b"b")] * n),
    "codings of a transfer": lambda n: framing_error(
        b"GET", b"/", "1.1", [(b"transfer-encoding", b"chunked")] * n
    ),
    "a target": lambda n: framing_error(b"GET", b"/" * n, "1.1", [(b"host", b"a")]),
    "an offer": lambda n: without_upgrade(b"GET", b"/", "1.1", [(b"upgrade", b"h2c")] * n),
}

SETTINGS: Mapping[str, Read] = {
    "a duration": lambda n: parse_duration("1h" * n),
    "a size": lambda n: parse_size("1" * n + "MiB"),
    "variables": lambda n: load(None, {f"IMAGED_API__{name}": "x" for name in names(n)}),
}

ANSWERS: Mapping[str, Read] = {
    "a range": lambda n: BodyValidators(1, '"a"').matching_rest(
        answer(content_range="bytes 0-" + "9" * n + "/*"), 0
    ),
    "a validator": lambda n: validators_of(answer(etag='"' + "a" * n + '"')),
    "a url": lambda n: parse_url("http://192.0.2.1/" + "a/" * n, configured(FetchSettings)),
}

ALL = {
    f"{kind}: {name}": read
    for kind, table in {
        "json": JSON,
        "patch": PATCHES,
        "query": QUERIES,
        "header": HEADERS,
        "setting": SETTINGS,
        "answer": ANSWERS,
    }.items()
    for name, read in table.items()
}


@pytest.mark.parametrize("name", ALL)
def test_a_parser_is_linear(name: str) -> None:
    """Counted in operations: a busy machine counts as an idle one does."""
    assert work_growth(ALL[name], SIZES) < LINEAR_GROWTH_LIMIT


def test_a_range_that_no_file_has_is_none() -> None:
    """Python refuses to read a number of so many digits, and that is no answer of ours."""
    told = answer(etag='"a"', content_range="bytes 6-" + "9" * 5000 + "/*")
    assert BodyValidators(10, '"a"').matching_rest(told, 6) is None


def test_a_token_file_is_linear(tmp_path: Path) -> None:
    """Many callers may be known."""
    path = tmp_path / "tokens.toml"

    def read(count: int) -> None:
        path.write_text(
            "".join(
                f'[[token]]\nsha256 = "{number:064x}"\nuser = "u"\nproject = "p"\nroles = ["r"]\n'
                for number in range(count)
            )
        )
        TokenFile(path)

    assert work_growth(read, (20, 40, 80)) < LINEAR_GROWTH_LIMIT


def test_the_count_sees_loops_in_c() -> None:
    """Quadratic work is found, wherever it is done: the test can fail."""

    def in_python(size: int) -> None:
        for name in names(size):
            any(other == name for other in names(size))

    def in_c(size: int) -> list[int]:
        known = names(size)
        return [known.count(name) for name in known]

    def by_an_operator(size: int) -> list[str]:
        known: list[str] = []
        for name in names(size):
            if name not in known:
                known = [*known, name]
        return known

    assert min(work_growth(in_python, (20, 40, 80)), work_growth(in_c, SIZES)) > LINEAR_GROWTH_LIMIT
    assert work_growth(by_an_operator, SIZES) > LINEAR_GROWTH_LIMIT
    assert operations(lambda: None) < operations(lambda: names(10))
