"""Errors of Keystone, and of the tokens that it is asked about."""

from __future__ import annotations

from imaged.core.errors.base import ImagedError


class TokenRefused(ImagedError):
    """Keystone does not know the token, or knows that it is not valid any more."""

    http_status = 401
    remedy = "Sign in again, and use the new token."
    sentence = "Keystone does not accept the token. Sign in again."

    def __init__(self) -> None:
        super().__init__()


class KeystoneError(ImagedError):
    """Keystone could not do what was asked. The text has nothing that Keystone wrote, because its
    errors may contain tokens.
    """

    http_status = 503
    remedy = "Try again in a moment; tokens that were used in the last minute still work."
    client_text = "Keystone, which checks tokens, cannot be used at the moment. Try again later."
    sentence = "Keystone {}."
    is_outage = True


class KeystoneUnavailable(KeystoneError):
    """No endpoint of Keystone gave an answer that can be used."""


class KeystoneSilent(KeystoneUnavailable):
    """No endpoint of Keystone can be connected to, or gave any answer in time."""


class KeystoneAccountRefused(KeystoneError):
    """Keystone does not let imaged's own account sign in, or ask about tokens."""

    remedy = "The operator corrects the account of `[auth.keystone]`: `imaged doctor` tries it."
    needs_correction = True


class KeystoneSettingsUnusable(KeystoneError):
    """A file that `[auth.keystone]` names cannot be used."""

    sentence = "{}."
    remedy = "The operator corrects the file that the log names."
    needs_correction = True
