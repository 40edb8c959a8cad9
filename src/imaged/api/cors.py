"""Requests of web pages of other origins: the CORS protocol of the Fetch standard.

A page of an origin that the operator allows, such as a dashboard, may make every call that its
token permits, and read the answers, refusals too. Browsers ask before such a request (a preflight)
and send no token with the question, so it is answered before authentication. Nothing is allowed
that other programs may not do: a browser adds no token by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from imaged.core.attributes import REPLACE_HEADER, STORE_HEADER

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: Headers of requests that pages may set, besides those that they always may.
REQUEST_HEADERS = (
    *("X-Auth-Token", "X-Openstack-Request-Id", "X-OpenStack-Image-Size"),
    *(STORE_HEADER, REPLACE_HEADER),
    *("Content-Range", "If-Match", "If-None-Match", "If-Range", "Range"),
)

#: Headers of answers that pages may read, besides those that they always may.
ANSWER_HEADERS = (
    *("X-Openstack-Request-Id", "OpenStack-image-import-methods", "OpenStack-image-store-ids"),
    *("Accept-Patch", "Accept-Ranges", "Allow", "Content-MD5", "Content-Range", "ETag"),
    *("Location", "Retry-After", "WWW-Authenticate"),
)


@dataclass(frozen=True, slots=True)
class CorsSettings:
    """Which pages may call the API."""

    allowed_origins: tuple[str, ...]  # each as browsers send it: scheme, host, other port
    max_age: timedelta  # how long a browser may remember the answer to its question


NO_CORS = CorsSettings((), timedelta(0))


def allow_origins(app: ASGIApp, settings: CorsSettings) -> ASGIApp:
    """The application as pages of the allowed origins may call it; without any, as it is."""
    if not settings.allowed_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.allowed_origins,
        allow_methods=METHODS,
        allow_headers=REQUEST_HEADERS,
        allow_private_network=True,  # the dashboard's address may be public, and ours private
        expose_headers=ANSWER_HEADERS,
        max_age=int(settings.max_age.total_seconds()),
    )
