"""Tasks through the API: creating, reading, cancelling, removing, and permissions."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import uuid4

import pytest

from imaged.core.errors import SecretKeyUnavailable
from imaged.core.policy import Policy
from imaged.core.policy_rules import ADMIN, Rule
from imaged.core.task import TaskStatus
from imaged.services.tasks.types.verify import Verify
from support.service import Service

pytestmark = pytest.mark.asyncio

UNKNOWN_ID = "5b0b1b1e-6f0c-4b8f-9a55-0d7f3f5d9c11"  # the id of nothing
FIELDS = {
    *("id", "type", "status", "input", "result", "owner", "message", "image_id", "request_id"),
    *("user_id", "expires_at", "created_at", "updated_at", "self", "schema", "progress"),
}
DETAILS = {"input", "result", "message"}


async def show(service: Service, task_id: str, caller: str = "alice") -> dict[str, Any]:
    """Look at a task."""
    reply = await service.call("GET", f"/v2/tasks/{task_id}", caller=caller)
    assert reply.status == 200, reply.text
    task: dict[str, Any] = reply.json()
    return task


async def listed(service: Service, query: str = "", caller: str = "alice") -> list[str]:
    """The ids of a page."""
    reply = await service.call("GET", f"/v2/tasks{query}", caller=caller)
    assert reply.status == 200, reply.text
    return [task["id"] for task in reply.json()["tasks"]]


# from the call to the result


async def test_a_task_is_accepted_at_once(service: Service) -> None:
    """201, where it is, and all that is known of it: it waits."""
    image_id = await service.create_active()

    reply = await service.call(
        "POST", "/v2/tasks", {"type": "verify", "input": {"image_id": image_id}}
    )
    task = reply.json()

    assert reply.status == 201
    assert reply.headers["location"] == f"http://images.test/v2/tasks/{task['id']}"
    assert set(task) == FIELDS
    assert (task["type"], task["status"], task["input"]) == (
        "verify",
        "pending",
        {"image_id": image_id},
    )
    assert (task["owner"], task["user_id"], task["image_id"]) == ("p1", "alice", image_id)
    assert task["request_id"] == reply.headers["x-openstack-request-id"]
    assert (task["self"], task["schema"]) == (f"/v2/tasks/{task['id']}", "/v2/schemas/task")
    for name in ("result", "message", "progress", "expires_at"):
        assert task[name] is None
    assert await show(service, task["id"]) == task


async def test_a_verified_image(service: Service) -> None:
    """The result says what is right."""
    image_id = await service.create_active(b"hello")
    done = await service.do_task("verify", image_id=image_id)

    assert (done["status"], done["message"]) == ("success", None)
    assert done["result"] == {
        "image_id": image_id,
        "healthy": True,
        "size_bytes": 5,
        "checksum": hashlib.md5(b"hello").hexdigest(),  # noqa: S324 - the API's checksum
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(b"hello").hexdigest(),
        "stores": ["local"],
    }
    assert done["expires_at"] is not None
    assert done["progress"] == {
        "phase": "verifying",
        "done_bytes": 5,
        "total_bytes": 5,
        "percent": 100,
    }


async def test_damage_is_shown_to_administrators(service: Service) -> None:
    """Until it is mended; the image's owner reads of it in the result of his task."""
    image_id = await service.create_active(b"hello")
    (key,) = service.bytes.blobs
    service.bytes.blobs[key] = b"hallo"
    done = await service.do_task("verify", image_id=image_id)

    assert (done["status"], done["result"]["healthy"]) == ("success", False)
    seen = (await service.call("GET", f"/v2/images/{image_id}", caller="root")).json()
    assert "has the checksum" in seen["imaged_damage"]
    assert "imaged_damage" not in (await service.call("GET", f"/v2/images/{image_id}")).json()


async def test_a_cloned_image(service: Service) -> None:
    """Of the same bytes; it is listed under both images, and exists from its success on."""
    source_id = await service.create_active(b"hello", name="source", tags=["t"], os="x")
    task = await service.ask_task(
        "clone", image_id=source_id, image_properties={"name": "clone", "more": "y"}
    )
    assert len((await service.call("GET", "/v2/images")).json()["images"]) == 1
    await service.run_tasks()

    done = await show(service, task["id"])
    clone_id = done["result"]["image_id"]
    clone = (await service.call("GET", f"/v2/images/{clone_id}")).json()

    assert (done["status"], done["image_id"]) == ("success", source_id)
    assert (clone["name"], clone["os"], clone["more"], clone["tags"]) == ("clone", "x", "y", ["t"])
    assert (clone["status"], clone["size"]) == ("active", 5)
    for image_id in (source_id, clone_id):
        reply = await service.call("GET", f"/v2/images/{image_id}/tasks")
        assert reply.json() == {"tasks": [done]}
    assert len(service.bytes.blobs) == 1


async def test_a_draft_is_invisible(service: Service) -> None:
    """Not by its id, not in a list, not for admins; nor can it be given another time."""
    source_id = await service.create_active()
    await service.ask_task("clone", image_id=source_id)
    (draft_id,) = service.facts.images.keys() - {source_id}

    for caller in ("alice", "root"):
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/file"),
            ("GET", "/tasks"),
            ("POST", "/actions/deactivate"),
            ("PUT", "/tags/t"),
        ):
            reply = await service.call(method, f"/v2/images/{draft_id}{path}", caller=caller)
            assert reply.status == 404, (method, path)
        page = await service.call("GET", "/v2/images?visibility=all", caller=caller)
        assert draft_id not in page.text
    assert (await service.call("POST", "/v2/images", {"id": draft_id})).status == 409


# what is refused at the call


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "'type'"),
        ({"type": "verify"}, "'input'"),
        ({"input": {}}, "'type'"),
        ({"type": "verify", "input": None}, "'input'"),
        ({"type": "verify", "input": []}, "'input'"),
        ({"type": 1, "input": {}}, "'type'"),
        ({"type": "frob", "input": {}}, "'frob'"),
        ({"type": "api_image_import", "input": {}}, "'api_image_import'"),
        ({"type": "verify", "input": {}, "owner": "p2"}, "'owner'"),
        ({"type": "verify", "input": {}}, "'image_id'"),
        ({"type": "verify", "input": {"image_id": 1}}, "'image_id'"),
        ({"type": "verify", "input": {"image_id": "x"}}, "'image_id'"),
        ({"type": "verify", "input": {"image_id": str(uuid4()), "frob": 1}}, "'frob'"),
        ({"type": "clone", "input": {"image_id": str(uuid4()), "image_properties": 1}}, "'image_p"),
        ([], "JSON object"),
    ],
)
async def test_a_body_that_is_not_understood(service: Service, body: object, named: str) -> None:
    """400, and the field is named; nothing is stored."""
    reply = await service.call("POST", "/v2/tasks", body, headers={"accept": "application/json"})

    assert reply.status == 400
    assert named in reply.json()["message"]
    assert not service.facts.tasks


async def test_an_image_that_cannot_be(service: Service) -> None:
    """The image: unknown, of others, without data. Its properties: refused as in POST."""
    image_id, queued_id = await service.create_active(), await service.create()
    unknown = str(uuid4())

    async def refused(caller: str, kind: str, **fields: object) -> int:
        body = {"type": kind, "input": fields}
        return (await service.call("POST", "/v2/tasks", body, caller=caller)).status

    assert await refused("alice", "verify", image_id=unknown) == 404
    assert await refused("bob", "verify", image_id=image_id) == 404
    assert await refused("alice", "verify", image_id=queued_id) == 409
    assert await refused("alice", "clone", image_id=queued_id) == 409
    assert await refused("carol", "verify", image_id=image_id) == 403
    assert await refused("carol", "clone", image_id=image_id) == 403
    for properties, status in (
        ({"disk_format": "qcow2"}, 400),
        ({"status": "active"}, 403),
        ({"visibility": "public"}, 403),
        ({"min_ram": "x"}, 400),
        ({"id": image_id}, 409),
    ):
        found = await refused("alice", "clone", image_id=image_id, image_properties=properties)
        assert found == status, properties
    assert not service.facts.tasks
    assert service.facts.images.keys() == {image_id, queued_id}


async def test_without_a_key_secrets_are_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than kept as they are; the place of the key is not disclosed."""
    image_id = await service.create_active()

    async def accept(*_: object) -> None:
        raise SecretKeyUnavailable("/etc/secret.key", "no such file")

    monkeypatch.setattr(Verify, "accept", accept)
    body = {"type": "verify", "input": {"image_id": image_id}}
    reply = await service.call("POST", "/v2/tasks", body)

    assert reply.status == 503
    assert "secret.key" not in reply.text


# which tasks a caller sees and ends


async def test_tasks_are_their_projects(service: Service) -> None:
    """Others do not see them; an admin sees all, and readers of the project read."""
    image_id = await service.create_active()
    task_id = (await service.ask_task("verify", image_id=image_id))["id"]
    path = f"/v2/tasks/{task_id}"

    assert (await service.call("GET", path, caller="bob")).status == 404
    assert (await service.call("DELETE", path, caller="bob")).status == 404
    cancel = f"{path}/actions/cancel"
    assert (await service.call("POST", cancel, caller="bob")).status == 404
    assert (await service.call("POST", cancel, caller="carol")).status == 403
    assert (await service.call("GET", path, caller="carol")).status == 200
    assert await listed(service, caller="bob") == []
    assert await listed(service, caller="root") == [task_id]
    assert await listed(service, "?owner=p2", caller="root") == []
    assert (await service.call("POST", cancel, caller="root")).status == 200
    assert (await show(service, task_id))["message"] == "It was cancelled by root."


async def test_where_tasks_are_for_admins() -> None:
    """Other callers do not list them, but for those of visible images."""
    service = Service(policy=Policy({Rule.TASKS_API_ACCESS: ADMIN}))
    image_id = await service.create_active()
    body = {"type": "verify", "input": {"image_id": image_id}}

    assert (await service.call("POST", "/v2/tasks", body)).status == 403
    assert (await service.call("GET", "/v2/tasks")).status == 403
    task = await service.ask_task("verify", "root", image_id=image_id)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/actions/cancel")):
        reply = await service.call(method, f"/v2/tasks/{task['id']}{path}")
        assert reply.status == 403
    reply = await service.call("GET", f"/v2/images/{image_id}/tasks")
    assert (reply.status, reply.json()) == (200, {"tasks": []})


async def test_cancelling_and_removing(service: Service) -> None:
    """What is not final is cancelled, what is final is removed; never the other way round."""
    image_id = await service.create_active()
    path = f"/v2/tasks/{(await service.ask_task('clone', image_id=image_id))['id']}"

    assert (await service.call("DELETE", path)).status == 409
    reply = await service.call("POST", f"{path}/actions/cancel")
    assert (reply.status, reply.json()["status"]) == (200, "failure")
    assert reply.json()["message"] == "It was cancelled by alice."
    assert (await service.call("POST", f"{path}/actions/cancel")).status == 409
    await service.run_tasks()
    assert len((await service.call("GET", "/v2/images")).json()["images"]) == 1

    assert (await service.call("DELETE", path)).status == 204
    assert (await service.call("GET", path)).status == 404
    assert (await service.call("DELETE", path)).status == 404


@pytest.mark.parametrize("task_id", ["x", UNKNOWN_ID, "a" * 300])
async def test_a_task_that_is_not_there(service: Service, task_id: str) -> None:
    """404, whatever is wanted of it."""
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/actions/cancel")):
        assert (await service.call(method, f"/v2/tasks/{task_id}{path}")).status == 404
    assert (await service.call("PUT", f"/v2/tasks/{task_id}")).status == 405


# lists


async def test_pages(service: Service) -> None:
    """The newest first; each task once, by the address of the next page."""
    image_id = await service.create_active()
    made = [(await service.ask_task("verify", image_id=image_id))["id"] for _ in range(5)]

    seen, path = [], "/v2/tasks?limit=2"
    while path:
        page = (await service.call("GET", path)).json()
        assert page["first"] == "/v2/tasks?limit=2"
        assert page["schema"] == "/v2/schemas/tasks"
        assert all(set(task) == FIELDS - DETAILS for task in page["tasks"])
        seen += [task["id"] for task in page["tasks"]]
        path = page.get("next", "")

    assert seen == made[::-1]
    assert await listed(service, "?sort_dir=asc") == made
    assert await listed(service, "?sort_key=id&sort_dir=asc") == sorted(made)
    assert await listed(service, "?limit=0") == []


async def test_filters(service: Service) -> None:
    """By type, status, owner and image."""
    one, other = await service.create_active(), await service.create_active()
    verify = (await service.ask_task("verify", image_id=one))["id"]
    await service.run_tasks()
    clone = (await service.ask_task("clone", image_id=other))["id"]

    assert await listed(service, "?type=clone") == [clone]
    assert await listed(service, "?status=success") == [verify]
    assert await listed(service, "?status=pending&type=verify") == []
    assert await listed(service, f"?image_id={one}") == [verify]
    assert await listed(service, "?owner=p1") == [clone, verify]
    assert await listed(service, "?owner=p2") == []


@pytest.mark.parametrize(
    "query",
    [
        *("status=bogus", "type=frob", "limit=-1", "limit=x", "sort_key=input", "sort_dir=up"),
        *("marker=x", f"marker={UNKNOWN_ID}", "image_id=x", "frob=1", "owner=%00"),
    ],
)
async def test_queries_without_a_meaning(query: str) -> None:
    """400, and the parameter is named."""
    reply = await Service().call("GET", f"/v2/tasks?{query}")

    assert reply.status == 400
    assert repr(query.partition("=")[0]) in reply.text


# schemas


async def test_schemas_say_what_is_answered(service: Service) -> None:
    """Every field of a task, and of a task in a list; the types that there are."""
    task = (await service.call("GET", "/v2/schemas/task")).json()
    tasks = (await service.call("GET", "/v2/schemas/tasks")).json()

    assert (task["name"], set(task["properties"])) == ("task", FIELDS)
    assert task["properties"]["type"]["enum"] == [
        *("clone", "verify", "import", "convert", "export", "api_image_import", "location_import")
    ]
    assert task["properties"]["status"]["enum"] == list(TaskStatus)
    assert task["properties"]["message"]["type"] == ["null", "string"]
    assert tasks["name"] == "tasks"
    items = tasks["properties"]["tasks"]["items"]
    assert set(items["properties"]) == FIELDS - DETAILS
