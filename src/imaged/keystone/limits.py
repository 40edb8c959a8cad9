"""The unified limits of Keystone, as limits of projects.

They are read when a change needs more of a resource, and kept for a while. While Keystone does not
answer, the last known ones hold, and for projects without them the defaults: else no project could
upload, or each without limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from imaged.core.errors import KeystoneError, KeystoneUnavailable
from imaged.core.quota import Account, Limits, LimitsUnknown
from imaged.core.unified_limits import (
    LimitsDocumentInvalid,
    parse_project_limits,
    parse_registered_limits,
    parse_service_id,
)
from imaged.keystone.endpoints import Answer
from imaged.keystone.session import TOKENS_PATH, KeystoneSession

CACHE_SECONDS = 60.0  # so long may a change in Keystone go unnoticed
RETRY_SECONDS = 5.0  # while Keystone does not answer
MAX_PROJECTS = 10_000  # whose limits are kept
OK = 200

Parse = Callable[[Mapping[str, Any], str], Limits]


@dataclass(frozen=True, slots=True)
class _Known:
    """Limits, and until when they count, by the monotonic clock."""

    limits: Limits = field(default_factory=dict)
    until: float = 0.0


class UnifiedLimits:
    """Knows the limits of projects from Keystone. Is a ``ProjectLimits``.

    ``region``: that of this service, whose limits precede those without a region; "": none.
    """

    def __init__(
        self,
        session: KeystoneSession,
        defaults: Limits,
        region: str = "",
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.session = session
        self.defaults = defaults
        self.failure: KeystoneError | None = None  # of the last time that Keystone was asked
        self._region = region
        self._now = now
        self._service_id = ""
        self._registered = _Known()
        self._projects: dict[str, _Known] = {}  # the last read ones at the end
        self._reads: dict[str, asyncio.Lock] = {}  # under way, by project
        self._registered_read = asyncio.Lock()

    def limits_of(self, account: Account) -> Limits:
        """The limits of the project, those registered for all, or the defaults: of each resource
        the first that there is. Raises LimitsUnknown.
        """
        known = self._projects.get(account.owner)
        if known is None or self._now() >= known.until:
            raise LimitsUnknown(account.owner)
        return {**self.defaults, **self._registered.limits, **known.limits}

    async def read(self, project: str) -> None:
        """Read the limits of a project, once for all that wait for them. Raises nothing."""
        async with self._reads.setdefault(project, asyncio.Lock()):
            known = self._projects.get(project)
            if known is None or self._now() >= known.until:
                self._keep(project, await self._read(project, known or _Known()))
        self._reads.pop(project, None)

    async def _read(self, project: str, last: _Known) -> _Known:
        try:
            await self._read_registered()
            query = {"service_id": self._service_id, "project_id": project}
            limits = await self._ask("/limits", query, parse_project_limits)
        except KeystoneError as error:  # the session's meter logs it
            self.failure = error
            return _Known(last.limits, self._now() + RETRY_SECONDS)
        self.failure = None
        return _Known(limits, self._now() + CACHE_SECONDS)

    async def _read_registered(self) -> None:
        """Read the service's id and the limits for all projects. Raises KeystoneError."""
        async with self._registered_read:
            if self._now() < self._registered.until:
                return
            own = await self.session.token()
            self._service_id = await self.session.get(
                TOKENS_PATH, headers={"X-Subject-Token": own.text}, read=_read_service_id
            )
            query = {"service_id": self._service_id}
            limits = await self._ask("/registered_limits", query, parse_registered_limits)
            self._registered = _Known(limits, self._now() + CACHE_SECONDS)

    async def _ask(self, path: str, query: Mapping[str, str], parse: Parse) -> Limits:
        """Without the region in the query: it would hide limits without a region."""

        def read(answer: Answer) -> Limits:
            if answer.status != OK:
                raise KeystoneUnavailable(f"answered {answer.status} when it was asked for limits")
            try:
                return parse(answer.document, self._region)
            except LimitsDocumentInvalid as error:
                why = f"describes limits that cannot be read: the answer {error}"
                raise KeystoneUnavailable(why) from error

        return await self.session.get(path, query=query, read=read)

    def _keep(self, project: str, known: _Known) -> None:
        self._projects.pop(project, None)
        self._projects[project] = known
        while len(self._projects) > MAX_PROJECTS:
            del self._projects[next(iter(self._projects))]


def _read_service_id(answer: Answer) -> str:
    if answer.status != OK:
        raise KeystoneUnavailable(f"answered {answer.status} when it was asked for its catalog")
    service_id = parse_service_id(answer.document)
    if service_id is None:
        raise KeystoneUnavailable(
            "has no service of the type 'image' in its catalog, and so no limits for it"
        )
    return service_id
