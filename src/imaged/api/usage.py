"""What a project uses and may use: ``/v2/info/usage``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.bodies import json_response
from imaged.api.resource import caller_of
from imaged.core.limits import MIB
from imaged.core.quota import SIZES, UNIFIED_LIMIT_NAMES, Resource
from imaged.services.project_usage import ProjectUsage

UNLIMITED = -1


class UsageRecords:
    """Tells a project its usage."""

    def __init__(self, usage: ProjectUsage) -> None:
        self._usage = usage

    async def tell(self, request: Request) -> Response:
        """Answer 200 with the usage and the limits of the caller's project; -1 is unlimited."""
        account, limits = await self._usage.read(caller_of(request).project)
        return json_response(
            {
                "usage": {
                    UNIFIED_LIMIT_NAMES[resource]: {
                        "usage": _in_unit(resource, account.usage[resource]),
                        "limit": _in_unit(resource, limits[resource]),
                    }
                    for resource in Resource
                }
            }
        )


def _in_unit(resource: Resource, number: int | None) -> int:
    """Bytes in MiB, rounded down as in Glance: a project may have more than the page shows."""
    if number is None:
        return UNLIMITED
    return number // MIB if resource in SIZES else number
