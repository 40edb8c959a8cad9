"""A small client of the Image API, for tests that want to see every status."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterable
from typing import Any, Self

import aiohttp

from support.waiting import until

OCTETS = {"Content-Type": "application/octet-stream"}


class Client:
    """Talks to one daemon. Connection errors pass through."""

    def __init__(self, url: str, token: str | None = None, patience_seconds: float = 120) -> None:
        self._url = url
        self._patience = aiohttp.ClientTimeout(total=patience_seconds)
        self._headers = {"X-Auth-Token": token} if token else {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._url,
            headers=self._headers,
            timeout=self._patience,
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def create(self, **attributes: object) -> str:
        """A new record, ready for raw data; its id."""
        body = {"disk_format": "raw", "container_format": "bare", **attributes}
        async with self._session.post("/v2/images", json=body) as answer:
            answer.raise_for_status()
            image_id: str = (await answer.json())["id"]
            return image_id

    async def put(
        self, image_id: str, body: bytes | AsyncIterable[bytes], *, replaces: bool = False
    ) -> int:
        """Upload; the status. Bytes go with a Content-Length, the rest chunked.

        ``replaces``: another file than the one whose upload broke off before.
        """
        path = f"/v2/images/{image_id}/file"
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        headers = {**OCTETS, "X-Imaged-Replace": "true"} if replaces else OCTETS
        async with self._session.put(path, data=data, headers=headers) as answer:
            return answer.status

    async def show(self, image_id: str) -> dict[str, Any]:
        """The record."""
        async with self._session.get(f"/v2/images/{image_id}") as answer:
            answer.raise_for_status()
            record: dict[str, Any] = await answer.json()
            return record

    async def until_status(
        self, image_id: str, status: str, within_seconds: float = 30
    ) -> dict[str, Any]:
        """Wait until an image has a status; the record then."""

        async def has_status() -> bool:
            return bool((await self.show(image_id))["status"] == status)

        await until(has_status, f"the image is never {status}", within_seconds)
        return await self.show(image_id)

    async def delete(self, image_id: str) -> int:
        """Delete; the status."""
        async with self._session.delete(f"/v2/images/{image_id}") as answer:
            return answer.status

    async def digest(self, image_id: str) -> str:
        """The sha512 of the data, as it comes down."""
        digest = hashlib.sha512()
        async with self._session.get(f"/v2/images/{image_id}/file") as answer:
            answer.raise_for_status()
            async for chunk in answer.content.iter_chunked(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    async def list_all(self) -> list[dict[str, Any]]:
        """Every image that is not gone, page by page."""
        images: list[dict[str, Any]] = []
        path: str | None = "/v2/images?limit=500"
        while path:
            async with self._session.get(path) as answer:
                answer.raise_for_status()
                page = await answer.json()
            images += page["images"]
            path = page.get("next")
        return images

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        """Anything else; status and body."""
        async with self._session.request(method, path, **options) as answer:
            return answer.status, await answer.read()
