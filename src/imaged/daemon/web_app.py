"""Builds the API's ASGI application from the services of a daemon."""

from __future__ import annotations

from pathlib import Path

from starlette.types import ASGIApp

from imaged.api.app import ApiSettings, build_app
from imaged.api.authenticator import Authenticator, NoAuth, TokenFile
from imaged.api.imports import ImportCalls
from imaged.config import Config
from imaged.daemon import settings
from imaged.daemon.container import ServiceContainer
from imaged.daemon.metrics_endpoint import MetricsEndpoint
from imaged.services.staging import Staging
from imaged.services.uploads import Uploads


class WebApp:
    """Owns the API's application and its authenticator. Raises TokenFileInvalid."""

    def __init__(
        self,
        services: ServiceContainer,
        config: Config,
        metrics_endpoint: MetricsEndpoint | None = None,
    ) -> None:
        self._health = services.health
        self._identity = _build_identity(config)
        self.uploads = Uploads(services.ingest)
        app = build_app(
            images=services.images,
            uploads=self.uploads,
            downloads=services.downloads,
            tasks=services.task_service,
            imports=ImportCalls(Staging(services.ingest), services.imports, services.locations),
            health=self._health,
            authenticator=self._identity,
            settings=ApiSettings(config.api.public_url, settings.store_facts(config)),
            metrics=None if metrics_endpoint is None else metrics_endpoint.for_api,
        )
        self.app: ASGIApp = app if metrics_endpoint is None else metrics_endpoint.wrap(app)

    def apply(self, config: Config) -> None:
        """Reload the tokens. Raises TokenFileInvalid and keeps the old tokens then."""
        if isinstance(self._identity, TokenFile):
            self._identity.reload(Path(config.auth.token_file))

    def set_draining(self) -> None:
        """Make ``/readyz`` fail, so that load balancers send requests to other instances."""
        self._health.draining = True


def _build_identity(config: Config) -> Authenticator:
    if config.auth.method == "token":
        return TokenFile(Path(config.auth.token_file))
    return NoAuth(settings.own_names(config))
