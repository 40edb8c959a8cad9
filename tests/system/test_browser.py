"""Horizon's direct upload, by a real browser: a page of another origin sends a file."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from imaged.api.authenticator import token_hash
from support.client import Client
from support.daemon import Daemon
from support.disk_images import raw
from support.ports import reserve_port

pytestmark = [pytest.mark.system, pytest.mark.asyncio, pytest.mark.timeout(120)]

TOKEN = "the token of ann"
ENTRY = f"""
[[token]]
sha256 = "{token_hash(TOKEN)}"
user = "ann"
project = "web"
roles = ["member"]
"""

#: Horizon's script sends the file so: XMLHttpRequest, and these two headers.
PAGE = """<!doctype html>
<script type="module">
const asked = await (await fetch("asked")).json();
const data = await (await fetch("disk.raw")).blob();

function send(method, path, headers, body) {
  return new Promise((tell) => {
    const request = new XMLHttpRequest();
    request.open(method, asked.url + path);
    for (const [name, text] of Object.entries(headers)) request.setRequestHeader(name, text);
    const told = () => tell({
      status: request.status,
      text: request.responseText,
      id: request.getResponseHeader("x-openstack-request-id"),
      etag: request.getResponseHeader("etag"),
    });
    request.onload = told;
    request.onerror = told;
    request.send(body);
  });
}

const token = {"X-Auth-Token": asked.token};
const file = new File([data], "disk.raw");
const octets = {...token, "Content-Type": "application/octet-stream"};
const path = `/v2/images/${asked.image}`;
const answers = {
  upload: await send("PUT", `${path}/file`, octets, file),
  again: await send("PUT", `${path}/file`, octets, file),
  forged: await send("PUT", `${path}/file`, {...octets, "X-Auth-Token": "forged"}, file),
  show: await send("GET", path, token),
};
await fetch("told", {method: "POST", body: JSON.stringify(answers)});
</script>
"""


class Dashboard:
    """A site with the page, which tells what the browser let it see."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.asked: dict[str, str] = {}
        self.told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._port = port

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve it."""
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_get("/asked", self._asked)
        app.router.add_get("/disk.raw", self._disk)
        app.router.add_post("/told", self._told)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def _asked(self, _: web.Request) -> web.Response:
        return web.json_response(self.asked)

    async def _disk(self, _: web.Request) -> web.Response:
        return web.Response(body=raw())

    async def _told(self, request: web.Request) -> web.Response:
        self.told.set_result(json.loads(await request.text()))
        return web.Response()


@asynccontextmanager
async def browser(url: str, folder: Path) -> AsyncIterator[None]:
    """Chromium, of Debian's package, on a page."""
    assert shutil.which("chromium"), "apt-get install chromium"
    process = await asyncio.create_subprocess_exec(
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"),
        *(f"--user-data-dir={folder / 'profile'}", url),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_a_page_uploads_a_file(tmp_path: Path, *, is_allowed: bool) -> None:
    """If its origin is allowed, it uploads and reads the answers, refusals too; otherwise the
    browser lets it do and see nothing.
    """
    dashboard = Dashboard(reserve_port())
    (tmp_path / "tokens.toml").write_text(ENTRY)
    auth = {"method": "token", "token_file": str(tmp_path / "tokens.toml")}
    origins = [dashboard.origin] if is_allowed else ["http://127.0.0.1:1"]
    daemon = Daemon(tmp_path, {"auth": auth, "api.cors": {"allowed_origins": origins}})
    await daemon.start()
    try:
        async with Client(daemon.url, TOKEN) as client:
            image_id = await client.create()
            dashboard.asked = {"url": daemon.url, "image": image_id, "token": TOKEN}
            async with dashboard.serving(), browser(f"{dashboard.origin}/", tmp_path):
                told = await asyncio.wait_for(dashboard.told, 90)
            record = await client.show(image_id)
    finally:
        await daemon.end(signal.SIGKILL)
    statuses = {name: answer["status"] for name, answer in told.items()}
    if not is_allowed:
        assert statuses == dict.fromkeys(("upload", "again", "forged", "show"), 0)
        assert record["status"] == "queued"
        return
    assert statuses == {"upload": 204, "again": 409, "forged": 401, "show": 200}
    assert all(answer["id"].startswith("req-") for answer in told.values())
    assert "valid token" in json.loads(told["forged"]["text"])["error"]["message"]
    assert (record["status"], record["size"]) == ("active", len(raw()))
    assert told["show"]["etag"].startswith('"')
