"""Builds the receiver of notifications from the configuration."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from imaged.config import Config
from imaged.core.errors import ImagedError
from imaged.core.secret import Secret
from imaged.daemon.settings import settings_for
from imaged.daemon.task_types import CertificatesRefused
from imaged.webhooks.http_receiver import HttpReceiver
from imaged.webhooks.settings import WebhookSettings
from imaged.webhooks.signature import parse_secrets


class WebhookSecretsInvalid(ImagedError):
    """The secrets that sign events cannot be read, or are none. The text names their file."""

    needs_correction = True

    def __init__(self, origin: str, why: str) -> None:
        super().__init__(
            f"The secrets in {origin} cannot be used: {why}. Put one secret there, or two while "
            'the receiver changes to a new one, each in a line: "whsec_" and 24 to 64 random bytes '
            "in base64."
        )


def build_receiver(config: Config) -> HttpReceiver | None:
    """Build the receiver, if there is one. Raises WebhookSecretsInvalid, CertificatesRefused."""
    section = config.notifications
    if not section.url:
        return None
    name = config.daemon.name or socket.gethostname()
    ca_file = Path(section.ca_file) if section.ca_file else None
    webhook = settings_for(
        section,
        WebhookSettings,
        secrets=_secrets(config),
        ca_file=ca_file,
        publisher_id=section.publisher_id or f"image.{name}",
    )
    try:
        return HttpReceiver(webhook)
    except OSError as error:  # includes SSLError
        raise CertificatesRefused(ca_file, error) from error


def _secrets(config: Config) -> Sequence[Secret]:
    """The secrets: values take precedence over a file. Raises WebhookSecretsInvalid."""
    section = config.notifications
    origin = "notifications.secret" if section.secret else section.secret_file
    try:
        if section.secret:
            return parse_secrets(section.secret.get_secret_value())
        return parse_secrets(Path(section.secret_file).read_text(encoding="utf-8"))
    except OSError as error:
        raise WebhookSecretsInvalid(origin, f"{error.strerror}") from error
    except ValueError as error:  # includes UnicodeDecodeError, which quotes bytes
        why = "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise WebhookSecretsInvalid(origin, why) from None
