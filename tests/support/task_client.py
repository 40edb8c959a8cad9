"""Tasks of a real daemon, as their owner sees them."""

from __future__ import annotations

import json
from typing import Any

from support.client import Client
from support.waiting import until


class TaskClient:
    """Asks for tasks, and waits for them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, type_name: str, **fields: object) -> str:
        """Ask for a task; its id."""
        body = {"type": type_name, "input": fields}
        return str((await self._call("POST", "/v2/tasks", 201, json=body))["id"])

    async def show(self, task_id: str) -> dict[str, Any]:
        """Look at a task."""
        return await self._call("GET", f"/v2/tasks/{task_id}")

    async def cancel(self, task_id: str) -> dict[str, Any]:
        """End a task."""
        return await self._call("POST", f"/v2/tasks/{task_id}/actions/cancel")

    async def _call(
        self, method: str, path: str, expected: int = 200, **options: Any
    ) -> dict[str, Any]:
        status, answer = await self._client.request(method, path, **options)
        assert status == expected, answer
        task: dict[str, Any] = json.loads(answer)
        return task

    async def until_phase(self, task_id: str, phase: str) -> None:
        """Wait until it is worked on in this way."""

        async def is_there() -> bool:
            task = await self.show(task_id)
            assert task["status"] in {"pending", "processing"}, task
            return task["progress"] is not None and task["progress"]["phase"] == phase

        await until(is_there, f"the task never began with {phase}")

    async def end_of(self, task_id: str, within_seconds: float = 170) -> dict[str, Any]:
        """The task, when it has ended."""

        async def has_ended() -> bool:
            return (await self.show(task_id))["status"] in {"success", "failure"}

        await until(has_ended, "the task does not end", within_seconds)
        return await self.show(task_id)

    async def do(self, type_name: str, **fields: object) -> dict[str, Any]:
        """Ask for a task, and wait for its end."""
        return await self.end_of(await self.ask(type_name, **fields))
