"""Authentication by tokens of Keystone.

A service that acts for a user sends its own token too, in ``X-Service-Token``. The token of the
user may then have expired, so that the service can go on with what it began before; and the access
rules of the user's token do not count, because they are about calls to that service. Keystone's own
middleware does the same by default: a service token that is not valid, or lacks the role
``service``, makes the request invalid, however good the token of the user.

Tokens are looked at when a request begins. One that ends while a body is sent ends nothing.
"""

from __future__ import annotations

from starlette.datastructures import Headers

from imaged.api.http_errors import Unauthenticated
from imaged.core.access import Caller
from imaged.core.errors import TokenRefused
from imaged.core.identity import SERVICE_ROLE, Identity
from imaged.services.token_validation import TokenValidator


class KeystoneAuthenticator:
    """Authenticates callers by tokens of Keystone. ``uri``: where clients find it."""

    def __init__(self, tokens: TokenValidator, uri: str) -> None:
        self._tokens = tokens
        self._challenge = f'Keystone uri="{uri}"'

    async def authenticate(self, headers: Headers, method: str, path: str) -> Caller:
        """Return the caller that the token belongs to. Raises Unauthenticated, KeystoneError."""
        try:
            return _caller(await self._identify(headers, method, path))
        except TokenRefused as error:
            raise Unauthenticated(self._challenge) from error

    async def _identify(self, headers: Headers, method: str, path: str) -> Identity:
        """The identity whose token allows the call. Raises TokenRefused, KeystoneError."""
        token, service_token = headers.get("x-auth-token", ""), headers.get("x-service-token", "")
        if not service_token:
            identity = await self._tokens.identify(token)
            if not identity.may_call(method, path):
                raise TokenRefused
            return identity
        service = await self._tokens.identify(service_token)
        if SERVICE_ROLE not in service.roles or not service.may_call(method, path):
            raise TokenRefused
        return await self._tokens.identify(token, allow_expired=True)


def _caller(identity: Identity) -> Caller:
    return Caller(
        identity.user,
        identity.project,
        identity.roles,
        domain=identity.domain,
        is_system=identity.is_system,
        user_domain=identity.user_domain,
        project_domain=identity.project_domain,
    )
