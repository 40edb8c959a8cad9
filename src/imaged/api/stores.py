"""The stores that an upload may name: ``/v2/info/stores``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.bodies import json_response
from imaged.api.requests import caller_of
from imaged.core.access import require_admin

WEIGHT = 0  # not supported; clients of the API expect the name


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The public facts of a store: ``properties`` for administrators only, and never secrets."""

    id: str
    is_default: bool = False
    description: str = ""
    type: str = ""  # as in the API
    properties: Mapping[str, object] = field(default_factory=dict)


class StoreRecords:
    """Lists the stores, which do not change while the process runs."""

    def __init__(self, stores: Sequence[StoreFacts]) -> None:
        self._stores = stores

    async def list(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with the names of the stores; one of them is the default."""
        return _answer([_brief(store) for store in self._stores])

    async def detail(self, request: Request) -> Response:
        """Answer 200 with the details for administrators."""
        require_admin(caller_of(request))
        return _answer([_whole(store) for store in self._stores])


def _answer(stores: Sequence[Mapping[str, object]]) -> Response:
    return json_response({"stores": stores})


def _brief(store: StoreFacts) -> dict[str, object]:
    brief: dict[str, object] = {"id": store.id}
    if store.description:
        brief["description"] = store.description
    if store.is_default:
        brief["default"] = "true"
    return brief


def _whole(store: StoreFacts) -> dict[str, object]:
    more = {"type": store.type, "properties": store.properties, "weight": WEIGHT}
    return {**_brief(store), **more}
