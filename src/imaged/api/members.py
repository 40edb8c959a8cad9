"""The members of images: ``/v2/images/{image_id}/members`` and below."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.bodies import json_object_of, json_response
from imaged.api.conditions import image_condition
from imaged.api.resource import caller_of, image_id_of
from imaged.api.serialize import member_json
from imaged.core.errors import InvalidRequest
from imaged.core.sharing import read_member_id, read_member_status
from imaged.services.members import Members


@dataclass(frozen=True, slots=True)
class MemberRecords:
    """Adds, lists, shows, changes and removes members of images."""

    members: Members

    async def list(self, request: Request) -> Response:
        """Answer 200 with the members: all for the owner, the caller's own for a member."""
        image_id = image_id_of(request)
        found = await self.members.list(caller_of(request), image_id)
        shown = [member_json(member, image_id) for member in found]
        return json_response({"members": shown, "schema": "/v2/schemas/members"})

    async def create(self, request: Request) -> Response:
        """Answer 200 with the new member, whose status is `pending`."""
        caller, image_id = caller_of(request), image_id_of(request)
        member_id = read_member_id(await _field_of(request, "member"))
        condition = image_condition(request.headers, caller)
        member = await self.members.add(caller, image_id, member_id, condition)
        return json_response(member_json(member, image_id))

    async def show(self, request: Request) -> Response:
        """Answer 200 with the member."""
        image_id = image_id_of(request)
        member = await self.members.show(caller_of(request), image_id, member_id_of(request))
        return json_response(member_json(member, image_id))

    async def answer(self, request: Request) -> Response:
        """Answer 200 with the member and its new status."""
        caller, image_id = caller_of(request), image_id_of(request)
        status = read_member_status(await _field_of(request, "status"))
        condition = image_condition(request.headers, caller)
        member_id = member_id_of(request)
        member = await self.members.answer(caller, image_id, member_id, status, condition)
        return json_response(member_json(member, image_id))

    async def delete(self, request: Request) -> Response:
        """Answer 204: the image is not shared with the project any more."""
        caller, image_id = caller_of(request), image_id_of(request)
        condition = image_condition(request.headers, caller)
        await self.members.remove(caller, image_id, member_id_of(request), condition)
        return Response(status_code=204)


def member_id_of(request: Request) -> str:
    """The id of the member in the path."""
    member_id: str = request.path_params["member_id"]
    return member_id


async def _field_of(request: Request, name: str) -> object:
    """The field of the body; all others are ignored. Raises InvalidRequest."""
    body = await json_object_of(request, f"the field {name!r}")
    if name not in body:
        raise InvalidRequest(f"The body needs the field {name!r}.")
    return body[name]
