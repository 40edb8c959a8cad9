"""Downloads that nginx (Debian's) sends, by the block of docs/how-to/let-a-proxy-send.md."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from support.client import Client
from support.daemon import Daemon
from support.ports import reserve_port
from support.waiting import is_listening, wait_until

pytestmark = [pytest.mark.system, pytest.mark.asyncio, pytest.mark.timeout(120)]

PAGE = Path(__file__).parents[2] / "docs/how-to/let-a-proxy-send.md"
BODY = os.urandom(3_000_000)
MAIN = """
daemon off;
user root;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {server}
}}
"""


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon with the settings of the page."""
    settings = {"downloads": {"verify": False, "delegate": "x-accel-redirect"}}
    running = Daemon(tmp_path, settings)
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


@contextmanager
def nginx(daemon: Daemon, images: Path) -> Iterator[int]:
    """With the page's block, and the addresses and folders of this test."""
    folder, port = daemon.folder / "nginx", reserve_port()
    folder.mkdir()
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    server = found[1]
    for text, here in {
        "listen 443 ssl;": f"listen 127.0.0.1:{port};",
        "http://unix:/run/imaged/api.sock": daemon.url,
        "/var/lib/imaged/images/": f"{images}/",
    }.items():
        assert text in server
        server = server.replace(text, here)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, server=server))
    process = subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-p", folder])
    try:
        wait_until(lambda: is_listening(port))
        yield port
    finally:
        process.terminate()
        process.wait(10)


def ask(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """One request; status, headers in small letters, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        named = {name.lower(): text for name, text in answer.getheaders()}
        return answer.status, named, answer.read()
    finally:
        connection.close()


async def test_nginx_sends_what_imaged_allows(daemon: Daemon) -> None:
    """The whole and ranges, with the headers of clients; nothing that imaged did not name."""
    async with Client(daemon.url) as client:
        image_id = await client.create()
        assert await client.put(image_id, BODY) == 204
    (file,) = daemon.folder.rglob(f"{image_id}.*")
    images = file.parents[1]
    path = f"/v2/images/{image_id}/file"

    with nginx(daemon, images) as port:
        status, headers, body = ask(port, path)
        assert (status, body) == (200, BODY)
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-md5"] == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
        assert headers["x-openstack-request-id"].startswith("req-")
        assert "x-accel-redirect" not in headers

        status, headers, body = ask(port, path, Range="bytes=1000-1999")
        assert (status, body) == (206, BODY[1000:2000])
        assert headers["content-range"] == f"bytes 1000-1999/{len(BODY)}"
        assert ask(port, path, Range="bytes=-7")[2] == BODY[-7:]
        assert ask(port, path, Range=f"bytes={len(BODY)}-")[0] == 416
        assert ask(port, path, "HEAD")[1]["content-length"] == str(len(BODY))

        inner = f"/imaged-files/local/{file.relative_to(images)}"
        assert ask(port, inner)[0] == 404
        assert ask(port, "/v2/images/11111111-1111-4111-8111-111111111111/file")[0] == 404

        file.unlink()
        assert ask(port, path)[0] >= 500  # imaged has looked for it

    empty = ask(daemon.port, path)
    assert empty[0] >= 500
