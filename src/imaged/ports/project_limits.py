"""The interface of what knows the limits of projects: the catalog itself, or Keystone."""

from __future__ import annotations

from typing import Protocol

from imaged.core.quota import Account, Limits


class ProjectLimits(Protocol):
    """The limits that hold for each project.

    ``defaults``: of what is limited nowhere else; a reload of the configuration replaces them.
    """

    defaults: Limits

    def limits_of(self, account: Account) -> Limits:
        """The limits that hold now, of every resource; called in transactions, so it never waits.

        Raises LimitsUnknown if they must be read first.
        """
        ...

    async def read(self, project: str) -> None:
        """Read the limits of a project, so that ``limits_of`` returns them for a while.

        Raises nothing: during an outage of their source, the last known ones hold, and for a
        project without them the defaults.
        """
        ...
