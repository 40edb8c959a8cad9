"""What clients discover of the API: its versions, and its stores (``/v2/info/stores``)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import version as installed_version

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.accept import wants_html
from imaged.api.bodies import json_response
from imaged.api.resource import Links, caller_of
from imaged.api.versions import CALLS_OF_VERSIONS
from imaged.core.access import require_store_details

WEIGHT = 0  # not supported; clients of the API expect the name

#: The version alone, or with any minor version of the API: those are announced, and not selected.
_NUMBER = rf"v2(?:\.(?:{'|'.join(map(str, CALLS_OF_VERSIONS))}))?"
_IN_PATH = re.compile(rf"/{_NUMBER}(?=/|$)")
_IN_ACCEPT = re.compile(rf"application/vnd\.openstack\.images-{_NUMBER}(?![\w.]).*")


#: The paths of the version itself. They need no token: clients read them before they sign in.
VERSION_PATHS = frozenset({"/v2", "/v2/"})

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>imaged</title>
<h1>imaged {version} is running</h1>
<p>It keeps disk images for programs that speak the OpenStack Image API.
<ul>
<li><a href="/versions">/versions</a>: the versions of the API; it is below <code>/v2/</code>
<li><a href="/readyz">/readyz</a>: whether the service is ready, and what is wrong if not
</ul>
<p>Upload a file with <code>imaged push FILE --url {address}</code>; on the server,
<code>imaged status</code> shows what it keeps and <code>imaged doctor</code> what needs attention.
</html>
"""
_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'", "Vary": "Accept"}


class Versions:
    """``/`` and ``/versions``, ``/v2`` and ``/v2/``. ``announced``: the current version first."""

    def __init__(self, links: Links, announced: Sequence[str]) -> None:
        self._links = links
        self._announced = announced
        self._imaged_version = installed_version("imaged")

    async def show(self, request: Request) -> Response:
        """Answer 200 with the list."""
        return self._answer(request, 200)

    async def choose(self, request: Request) -> Response:
        """Answer 300 with the list, so that the client chooses; 200 with a page for a browser."""
        if wants_html(request.headers.get("accept", "")):
            address = escape(self._links.absolute(request, ""))
            page = _PAGE.format(version=self._imaged_version, address=address)
            return Response(page, 200, _PAGE_HEADERS, "text/html")
        return self._answer(request, 300)

    async def enter(self, request: Request) -> Response:
        """Answer ``/v2`` with the address of its contents."""
        return Response(status_code=302, headers={"Location": self._root(request)})

    def _answer(self, request: Request, status: int) -> Response:
        links = [{"rel": "self", "href": self._root(request)}]
        current = self._announced[0]
        versions = [
            {"id": version, "status": _status(version, current), "links": links}
            for version in self._announced
        ]
        return json_response({"versions": versions}, status, {"Vary": "Accept"})

    def _root(self, request: Request) -> str:
        return self._links.absolute(request, "/v2/")


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The public facts of a store: ``properties`` for administrators only, and never secrets."""

    id: str
    is_default: bool = False
    description: str = ""
    type: str = ""  # as in the API
    properties: Mapping[str, object] = field(default_factory=dict)


class StoreRecords:
    """Lists the stores, which do not change while the process runs."""

    def __init__(self, stores: Sequence[StoreFacts]) -> None:
        self._stores = stores

    async def list(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with the names of the stores; one of them is the default."""
        return _answer([_brief(store) for store in self._stores])

    async def detail(self, request: Request) -> Response:
        """Answer 200 with the details for administrators."""
        require_store_details(caller_of(request))
        return _answer([_whole(store) for store in self._stores])


def version_2_path(path: str, accept: str) -> str | None:
    """The path below ``/v2``, if path or Accept header name a served version.

    One trailing slash is removed, except for ``/v2/`` itself.
    """
    named = _IN_PATH.match(path)
    if named is not None:
        path = "/v2" + path[named.end() :]
    elif _IN_ACCEPT.fullmatch(accept.strip().lower()):
        path = "/v2" + path
    else:
        return None
    return path if path == "/v2/" else path.removesuffix("/")


def _status(version: str, current: str) -> str:
    return "CURRENT" if version == current else "SUPPORTED"


def _answer(stores: Sequence[Mapping[str, object]]) -> Response:
    return json_response({"stores": stores})


def _brief(store: StoreFacts) -> dict[str, object]:
    brief: dict[str, object] = {"id": store.id}
    if store.description:
        brief["description"] = store.description
    if store.is_default:
        brief["default"] = "true"
    return brief


def _whole(store: StoreFacts) -> dict[str, object]:
    more = {"type": store.type, "properties": store.properties, "weight": WEIGHT}
    return {**_brief(store), **more}
