"""Builds the API's ASGI application, and what connects it to the server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from imaged.api.admission import Admission
from imaged.api.app import ApiServices, ApiSettings, build_app
from imaged.api.authenticator import Authenticator, NoAuth, TokenFile
from imaged.api.bodies import sends_file
from imaged.api.http_errors import BAD_GATEWAY, UNAVAILABLE, BodyTooSlow
from imaged.api.images import ImportCalls
from imaged.api.keystone_authenticator import KeystoneAuthenticator
from imaged.api.middleware import REQUEST_ID_HEADER, ignore_error
from imaged.api.resource import REQUEST_ID_SCOPE_KEY
from imaged.config import Config
from imaged.core.policy import Policy
from imaged.daemon import settings
from imaged.daemon.container import ServiceContainer
from imaged.daemon.keystone import KeystoneConnection, keystone_uri
from imaged.server import raw_responses
from imaged.server.connections import ServerHooks
from imaged.server.listeners import (
    ActivatedSockets,
    SocketRefused,
    open_listeners,
    reachable_from_network,
)
from imaged.services.verified_reads import BLOCK_CACHE, BlockCache

if TYPE_CHECKING:
    from imaged.api.monitoring import MetricsHandler
    from imaged.metrics.instruments import Instruments

_OPEN_TO_NETWORK = (
    "A socket that systemd passed can be reached from the network, and auth.method is none: every "
    "client would be an administrator. Choose another method, or another ListenStream=, or set "
    "auth.allow_anyone_on_the_network."
)


def shutdown_response(scope: Scope) -> Response:
    """Return the answer to a cancelled request, with the request id that the log has.

    An upload gets 502: after 503, clients repeat it and send only the rest of their file.
    """
    status = BAD_GATEWAY if sends_file(Headers(scope=scope)) else UNAVAILABLE
    headers = {REQUEST_ID_HEADER: scope[REQUEST_ID_SCOPE_KEY]}
    return raw_responses.shutdown_response(scope, status, headers)


API_HOOKS = ServerHooks(
    state_factories={BLOCK_CACHE: BlockCache},
    body_too_slow=BodyTooSlow,
    shutdown_response=shutdown_response,
    error_headers=lambda: {REQUEST_ID_HEADER.lower(): f"req-{uuid4()}"},
)


class RequestMetrics(Protocol):
    """What measures the requests of an application, and serves metrics beside it."""

    instruments: Instruments

    @property
    def for_api(self) -> MetricsHandler | None:
        """The handler for the API's own addresses; None if they do not serve metrics."""
        ...

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return the application with its requests counted."""
        ...


class WebApp:
    """Owns the API's application and its authenticator. Raises TokenFileInvalid."""

    def __init__(
        self,
        services: ServiceContainer,
        config: Config,
        metrics_endpoint: RequestMetrics | None = None,
    ) -> None:
        self._health = services.health
        self._keystone = services.keystone
        self._admission = Admission(
            _build_authenticator(config, services.keystone),
            policy=services.policy,
            anonymous_read=config.auth.anonymous_read,
        )
        uploads = services.ingest
        api = ApiServices(
            images=services.images,
            members=services.members,
            uploads=uploads,
            downloads=services.downloads,
            sent_downloads=services.sent_downloads,
            tasks=services.task_service,
            imports=ImportCalls(uploads, services.imports, services.locations),
            health=services.health,
            usage=services.usage,
        )
        stated = ApiSettings(
            config.api.public_url, settings.store_facts(config), settings.cors_settings(config)
        )
        metrics = None if metrics_endpoint is None else metrics_endpoint.for_api
        on_error = ignore_error
        if metrics_endpoint is not None:
            on_error = metrics_endpoint.instruments.requests.count_error
        app = build_app(api, self._admission, stated, metrics, on_error)
        self.app: ASGIApp = app if metrics_endpoint is None else metrics_endpoint.wrap(app)

    def apply(self, config: Config, policy: Policy) -> None:
        """Reload tokens, or the secret for Keystone, and apply these rules.

        Raises TokenFileInvalid, KeystoneSettingsUnusable and keeps what there was then.
        """
        if self._keystone is not None:
            self._keystone.apply(config)
        authenticator = self._admission.authenticator
        if isinstance(authenticator, TokenFile):
            authenticator.reload(Path(config.auth.token_file))
        self._admission.policy = policy
        self._admission.anonymous_read = config.auth.anonymous_read

    def set_draining(self) -> None:
        """Make ``/readyz`` fail, so that load balancers send requests to other instances."""
        self._health.draining = True


def _build_authenticator(config: Config, keystone: KeystoneConnection | None) -> Authenticator:
    if keystone is not None:
        return KeystoneAuthenticator(keystone.tokens, keystone_uri(config))
    if config.auth.method == "token":
        return TokenFile(Path(config.auth.token_file))
    return NoAuth(settings.own_names(config))


@contextmanager
def api_listeners(config: Config, activated: ActivatedSockets) -> Iterator[list[socket.socket]]:
    """Yield the API's sockets from systemd, or listen on ``api.bind``.

    Raises CannotListen; SocketRefused for a socket that would admit unauthenticated machines.
    """
    given, auth = activated.named("api"), config.auth
    if not given:
        with open_listeners(config.api.bind) as listeners:
            yield listeners
        return
    if (
        auth.method == "none"
        and not auth.allow_anyone_on_the_network
        and reachable_from_network(given)
    ):
        raise SocketRefused(_OPEN_TO_NETWORK)
    yield given
