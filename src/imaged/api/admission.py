"""Admission: who the caller of a request is, and which rules hold for it."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache

from starlette.datastructures import Headers

from imaged.api.authenticator import Authenticator
from imaged.core.access import Caller, require_known_role
from imaged.core.policy import DEFAULT_POLICY, Policy
from imaged.core.policy_rules import CONTEXT_IS_ADMIN, Rule

#: Calls that callers without a token may make, if the operator wants that.
ANONYMOUS_METHODS = frozenset({"GET", "HEAD"})
_ANONYMOUS_PATH = re.compile(r"/v2/images(/[^/]+(/file)?)?")

_PUBLIC = "'public':%(visibility)s"
ANONYMOUS = Caller(
    "anonymous",
    "",
    frozenset(),
    policy=Policy(
        {
            CONTEXT_IS_ADMIN: "!",
            **dict.fromkeys(Rule, "!"),
            Rule.GET_IMAGES: "@",
            Rule.GET_IMAGE: _PUBLIC,
            Rule.DOWNLOAD_IMAGE: _PUBLIC,
        }
    ),
)


@dataclass(slots=True, eq=False)
class Admission:
    """Admits requests. ``policy`` and ``anonymous_read`` may be replaced at run time.

    ``anonymous_read``: callers without a token may list, show and download public images.
    """

    authenticator: Authenticator
    _: KW_ONLY
    policy: Policy = DEFAULT_POLICY
    anonymous_read: bool = False

    async def caller_of(self, method: str, path: str, headers: Headers) -> Caller:
        """The caller of a request, with its rules. Raises HttpError, NotPermitted,
        KeystoneError.

        ``path``: below ``/v2``.
        """
        if self.anonymous_read and _is_anonymous_read(method, path, headers):
            return ANONYMOUS
        caller = await self.authenticator.authenticate(headers, method, path)
        return _known_caller(caller, self.policy)


@lru_cache(maxsize=4096)  # callers come again: this took a tenth of a small request's time
def _known_caller(caller: Caller, policy: Policy) -> Caller:
    """The caller with the rules that hold for it. Raises NotPermitted, each time."""
    caller = replace(caller, policy=policy)
    require_known_role(caller)
    return caller


def _is_anonymous_read(method: str, path: str, headers: Headers) -> bool:
    return (
        not headers.get("x-auth-token")
        and method in ANONYMOUS_METHODS
        and _ANONYMOUS_PATH.fullmatch(path) is not None
    )
