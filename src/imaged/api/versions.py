"""The versions of the Image API: those served, and the one that a request means."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.bodies import json_response
from imaged.api.requests import Links

CURRENT = "v2.7"
#: Complete minor versions. 2.8 and 2.9 let an import write to several stores at once, and 2.10 to
#: 2.18 build on that.
SUPPORTED = ("v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0")

_NUMBER = r"v2(?:\.[0-7])?"
_IN_PATH = re.compile(rf"/{_NUMBER}(?=/|$)")
_IN_ACCEPT = re.compile(rf"application/vnd\.openstack\.images-{_NUMBER}(?![\w.]).*")


class Versions:
    """``/`` and ``/versions``, and all paths of versions that are not served."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def show(self, request: Request) -> Response:
        """Answer 200 with the list."""
        return self._answer(request, 200)

    async def choose(self, request: Request) -> Response:
        """Answer 300 with the list, so that the client chooses."""
        return self._answer(request, 300)

    async def enter(self, request: Request) -> Response:
        """Answer ``/v2`` with the address of its contents."""
        return Response(status_code=302, headers={"Location": self._root(request)})

    def _answer(self, request: Request, status: int) -> Response:
        links = [{"rel": "self", "href": self._root(request)}]
        versions = [{"id": CURRENT, "status": "CURRENT", "links": links}]
        versions += [{"id": number, "status": "SUPPORTED", "links": links} for number in SUPPORTED]
        return json_response({"versions": versions}, status)

    def _root(self, request: Request) -> str:
        return self._links.absolute(request, "/v2/")


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
