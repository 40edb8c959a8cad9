"""A client of an imaged that runs in a booted machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from support.booted import PORT, Machine, until

OCTETS = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
RAW = {"name": "new", "disk_format": "raw", "container_format": "bare"}


@dataclass(frozen=True)
class MachineClient:
    """A client on loopback, which needs no token."""

    machine: Machine
    port: int = PORT

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request on a connection of its own; the status and the body."""
        connection = self.machine.connect(self.port)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def create(self, **attributes: str) -> str:
        """An image that waits for its data; its id."""
        return str(self._make("/v2/images", {**RAW, **attributes})["id"])

    def _make(self, path: str, fields: object) -> Any:
        status, answer = self.ask("POST", path, json.dumps(fields).encode(), JSON)
        assert status == 201, answer
        return json.loads(answer)

    def store(self, data: bytes = b"data", **attributes: str) -> str:
        """An image with data; its id."""
        image_id = self.create(**attributes)
        status, answer = self.ask("PUT", f"/v2/images/{image_id}/file", data, OCTETS)
        assert status == 204, answer
        return image_id

    def begin_upload(self, image_id: str, first: bytes, announced: int) -> HTTPConnection:
        """Send the first bytes, and wait until the upload was claimed."""
        connection = self.machine.connect(self.port)
        connection.putrequest("PUT", f"/v2/images/{image_id}/file")
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(announced))
        connection.endheaders(first)
        until(
            lambda: self.show(image_id)["status"],
            lambda status: status == "saving",
            lambda: "the upload does not begin",
        )
        return connection

    def show(self, image_id: str) -> Any:
        """The record of an image."""
        status, answer = self.ask("GET", f"/v2/images/{image_id}")
        assert status == 200, answer
        return json.loads(answer)

    def download(self, image_id: str) -> bytes:
        """All of its data."""
        status, data = self.ask("GET", f"/v2/images/{image_id}/file")
        assert status == 200, data
        return data

    def work(self, task_type: str, **fields: str) -> Any:
        """Ask for a task, and wait until it has ended; the task."""
        path = f"/v2/tasks/{self._make('/v2/tasks', {'type': task_type, 'input': fields})['id']}"
        return until(
            lambda: json.loads(self.ask("GET", path)[1]),
            lambda task: task["status"] in {"success", "failure"},
            lambda: f"{task_type} does not end",
        )

    def delete(self, image_id: str) -> None:
        """Delete an image."""
        status, answer = self.ask("DELETE", f"/v2/images/{image_id}")
        assert status == 204, answer
