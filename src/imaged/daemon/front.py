"""What a daemon answers requests with: the services behind the API, and the application."""

from __future__ import annotations

from pathlib import Path

from starlette.types import ASGIApp

from imaged.api.app import ApiSettings, build_app
from imaged.api.identity import Identity, NoAuth, TokenFile
from imaged.api.imports import ImportCalls
from imaged.config import Config
from imaged.daemon import settings
from imaged.daemon.assembly import Services
from imaged.daemon.observatory import Observatory
from imaged.services.staging import Staging
from imaged.services.uploads import Uploads


class Front:
    """Raises TokenFileInvalid where callers cannot be known."""

    def __init__(
        self, services: Services, config: Config, observatory: Observatory | None = None
    ) -> None:
        self._health = services.health
        self._identity = _build_identity(config)
        self.uploads = Uploads(services.intake)
        app = build_app(
            images=services.images,
            uploads=self.uploads,
            downloads=services.downloads,
            tasks=services.desk,
            imports=ImportCalls(Staging(services.intake), services.imports, services.locations),
            health=self._health,
            identity=self._identity,
            settings=ApiSettings(config.api.public_url, settings.store_facts(config)),
            metrics=None if observatory is None else observatory.for_api,
        )
        self.app: ASGIApp = app if observatory is None else observatory.around(app)

    def apply(self, config: Config) -> None:
        """Go on with other settings. Raises TokenFileInvalid, and nothing is changed then."""
        if isinstance(self._identity, TokenFile):
            self._identity.reload(Path(config.auth.token_file))

    def stop_being_ready(self) -> None:
        """Tell whoever asks that requests should go elsewhere."""
        self._health.draining = True


def _build_identity(config: Config) -> Identity:
    if config.auth.method == "token":
        return TokenFile(Path(config.auth.token_file))
    return NoAuth(settings.own_names(config))
