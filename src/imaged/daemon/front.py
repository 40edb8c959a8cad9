"""What a daemon answers requests with: the services behind the API, and the application."""

from __future__ import annotations

from pathlib import Path

from starlette.types import ASGIApp

from imaged.api.app import ApiSettings, build_app
from imaged.api.identity import Identity, NoAuth, TokenFile
from imaged.config import Config
from imaged.daemon import settings
from imaged.daemon.assembly import Parts, Services
from imaged.daemon.observatory import Observatory
from imaged.inspectors.oslo import OsloInspector
from imaged.services.downloads import Downloads
from imaged.services.intake import Intake
from imaged.services.uploads import Uploads


class Front:
    """Raises TokenFileInvalid where callers cannot be known."""

    def __init__(
        self,
        parts: Parts,
        services: Services,
        config: Config,
        observatory: Observatory | None = None,
    ) -> None:
        self._health = services.health
        self._identity = _build_identity(config)
        self._intake = Intake(
            parts.catalog,
            parts.stores,
            services.claims,
            settings.stage_settings(config),
            budget=services.budget,
            inspector=OsloInspector,
            traffic=services.traffic,
        )
        self.uploads = Uploads(self._intake)
        app = build_app(
            images=services.images,
            uploads=self.uploads,
            downloads=Downloads(parts.catalog, parts.stores, services.budget, services.traffic),
            health=self._health,
            identity=self._identity,
            settings=ApiSettings(config.api.public_url, settings.store_facts(config)),
            metrics=None if observatory is None else observatory.for_neighbours,
        )
        self.app: ASGIApp = app if observatory is None else observatory.around(app)

    def apply(self, config: Config) -> None:
        """Go on with other settings. Raises TokenFileInvalid, and nothing is changed then."""
        if isinstance(self._identity, TokenFile):
            self._identity.reload(Path(config.auth.token_file))
        self._intake.settings = settings.stage_settings(config)

    def stop_being_ready(self) -> None:
        """Tell whoever asks that requests should go elsewhere."""
        self._health.draining = True


def _build_identity(config: Config) -> Identity:
    if config.auth.method == "token":
        return TokenFile(Path(config.auth.token_file))
    return NoAuth()
