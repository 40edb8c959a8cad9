"""Asks Keystone whose a token is, and what of its answers is about our own account."""

from __future__ import annotations

from imaged.core.errors import KeystoneAccountRefused, KeystoneUnavailable, TokenRefused
from imaged.core.identity import Identity
from imaged.keystone.endpoints import Answer
from imaged.keystone.session import TOKENS_PATH, WITHOUT_CATALOG, KeystoneSession, identity_in

#: Without it, tokens of application credentials with access rules are answered with 404.
RULES_VERSION = {"OpenStack-Identity-Access-Rules": "1.0"}
#: Keystone takes "1", "true", "yes" and "on" for yes, and everything else for no.
ALLOW_EXPIRED = {"allow_expired": "1"}
#: In the text of a 403 that is about our account; others are about the token, as that of a trust
#: whose trustor has lost the role.
RULE_OF_VALIDATION = "identity:validate_token"


class KeystoneTokens:
    """Validates tokens. Is an ``IdentityService`` (``ports/identity.py``)."""

    def __init__(self, session: KeystoneSession) -> None:
        self._session = session

    async def validate(self, token: str, *, allow_expired: bool = False) -> Identity:
        """Return the identity behind a token. Raises TokenRefused, KeystoneError.

        GET, because HEAD goes by another rule, which the role service does not fulfil.
        """
        return await self._session.get(
            TOKENS_PATH,
            query=WITHOUT_CATALOG | (ALLOW_EXPIRED if allow_expired else {}),
            headers=RULES_VERSION | {"X-Subject-Token": token},
            operation="validate",
            read=read_validation,
        )


def read_validation(answer: Answer) -> Identity:
    """The identity in the answer to a validation. Raises TokenRefused, KeystoneError."""
    match answer.status:
        case 200:
            return identity_in(answer)
        case 404:
            raise TokenRefused
        case 403 if RULE_OF_VALIDATION not in answer.error_text:
            raise TokenRefused
        case 403:
            raise KeystoneAccountRefused(
                "does not let imaged's account check tokens: give it the role service in the "
                "project of auth.keystone.project"
            )
        case other:
            raise KeystoneUnavailable(f"answered {other} when it was asked about a token")
