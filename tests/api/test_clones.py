"""Asking for clones: which of the sources, into which store; and what becomes of the token."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

import pytest

from support.service import Service

pytestmark = pytest.mark.asyncio

ID = str(uuid4())
URL = f"https://images.example.net/v2/images/{ID}"
TOKEN = "a-made-up-token"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "'image_id'"),
        ({"image_id": ""}, "'image_id'"),
        ({"image_id": ID, "source_image_url": URL}, "'source_image_url'"),
        ({"image_id": ID, "source_token": TOKEN}, "'source_token'"),
        ({"source_image_url": "https://images.example.net/"}, "'source_image_url'"),
        ({"source_image_url": f"https://u:p@inside/v2/images/{ID}"}, "'source_image_url'"),
        ({"source_image_url": URL, "source_token": f"{TOKEN}\n"}, "'source_token'"),
        ({"source_image_url": URL, "source_token": 5}, "'source_token'"),
        ({"source_image_url": URL, "store": "mars"}, "'store'"),
    ],
)
async def test_an_input_that_makes_no_sense(
    service: Service, fields: Mapping[str, object], named: str
) -> None:
    """400, and the field is named; the token is not told again, and nothing is stored."""
    body = {"type": "clone", "input": fields}
    reply = await service.call("POST", "/v2/tasks", body, headers={"accept": "application/json"})

    assert reply.status == 400
    assert f"field {named}" in reply.json()["message"]
    assert TOKEN not in reply.text
    assert not service.facts.tasks


async def test_a_token_is_not_shown(service: Service) -> None:
    """Not in the answer, not to its owner, not to an admin; before the end and after it."""
    task = await service.ask_task("clone", source_image_url=URL, source_token=TOKEN)
    pages = [str(task)]
    for _ in range(2):
        pages += [
            (await service.call("GET", path, caller=caller)).text
            for path in ("/v2/tasks", f"/v2/tasks/{task['id']}")
            for caller in ("alice", "root")
        ]
        await service.run_tasks()

    assert task["input"] == {"source_image_url": URL}
    assert "failure" in pages[-1]
    assert TOKEN not in "".join(pages)
