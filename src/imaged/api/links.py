"""The absolute addresses in answers."""

from __future__ import annotations

import re

from starlette.requests import Request

_HOST = re.compile(r"[A-Za-z0-9._~\[\]:%-]+")


class Links:
    """Builds addresses below ``public_url``, or below the address that the client used."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url.rstrip("/")

    def absolute(self, request: Request, path: str) -> str:
        """The address of a path of this API."""
        return (self._public_url or _own_address(request)) + path


def _own_address(request: Request) -> str:
    host = request.headers.get("host", "")
    if _HOST.fullmatch(host) is None:
        name, port = request.scope.get("server") or ("localhost", None)
        host = f"{name}:{port}" if port else "localhost"
    return f"{request.scope['scheme']}://{host}"
