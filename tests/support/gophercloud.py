"""gophercloud, of Debian's package: a program in Go that calls its functions as it is told.

It is built with what the package has in ``/usr/share/gocode``; nothing is fetched.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.client_process import MOST_BYTES_OF_AN_ANSWER
from support.daemon import clean_environment
from support.orphans import END_WITH_PARENT
from support.virtualenvs import CACHE

GOPATH = Path("/usr/share/gocode")
LIBRARY = GOPATH / "src/github.com/gophercloud/gophercloud/openstack/imageservice/v2"
PROGRAM = Path(__file__).parents[1] / "system/gophercloud_client"

#: Functions that ask the service; what Extract… makes of answers is part of each.
_FUNCTION = re.compile(r"^func ([A-Z]\w*)\(\w+ \*gophercloud\.ServiceClient", re.MULTILINE)
_PATCH = re.compile(r"^func \(r (\w+)\) ToImagePatchMap\(", re.MULTILINE)
_LIST_FIELD = re.compile(r"^\t(\w+) +\S+(?: `.*`)?$", re.MULTILINE)


class GoError(Exception):
    """The error that gophercloud returned; ``kind`` is its type in Go."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


@dataclass(frozen=True)
class SignedIn:
    """What Keystone told of a user."""

    url: str  # of the service of images
    token: str


@dataclass
class Gophercloud:
    """The program, and what it has been told to call."""

    process: asyncio.subprocess.Process
    called: set[str] = field(default_factory=set)

    async def sign_in(self, user: str, variables: Mapping[str, str]) -> SignedIn:
        """Sign a user in by the variables ``OS_…``. Raises GoError."""
        answer = await self._ask({"User": user, "Environment": variables})
        return SignedIn(answer["URL"], answer["Token"])

    async def call(self, user: str, name: str, /, **arguments: object) -> Any:
        """What a function returns, with the names of fields of Go. Raises GoError."""
        self.called.add(name)
        return await self._ask({"User": user, "Call": name, "Arguments": arguments})

    async def _ask(self, order: Mapping[str, object]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        line = await self.process.stdout.readline()
        assert line, "the program has ended"
        answer = json.loads(line)
        if "kind" in answer:
            raise GoError(answer["kind"], answer["error"])
        return answer["value"]


@asynccontextmanager
async def gophercloud(folder: Path) -> AsyncIterator[Gophercloud]:
    """Build the program, and start it in a folder."""
    assert shutil.which("go"), "apt-get install golang-go"
    assert LIBRARY.is_dir(), "apt-get install golang-github-gophercloud-gophercloud-dev"
    places = {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(CACHE / "go")}
    program = folder / "gophercloud"
    build = ["go", "build", "-o", str(program), "."]
    subprocess.run(build, cwd=PROGRAM, env=os.environ | places, check=True)  # noqa: ASYNC221
    with (folder / "client.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *END_WITH_PARENT, program, cwd=folder, env=clean_environment(),
            stdin=PIPE, stdout=PIPE, stderr=log, limit=MOST_BYTES_OF_AN_ANSWER,
        )  # fmt: skip
    try:
        yield Gophercloud(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def functions() -> set[str]:
    """Every function about images that asks the service, such as ``images.List``."""
    return {
        f"{file.parent.name}.{name}"
        for file in LIBRARY.glob("*/requests.go")
        for name in _FUNCTION.findall(file.read_text("utf-8"))
    }


def patches() -> set[str]:
    """Every type that changes an image."""
    return {*_PATCH.findall((LIBRARY / "images/requests.go").read_text("utf-8"))}


def list_options(package: str) -> set[str]:
    """The fields of the options of ``List`` in a package."""
    text = (LIBRARY / package / "requests.go").read_text("utf-8")
    body = text.partition("type ListOpts struct {")[2].partition("\n}")[0]
    return {*_LIST_FIELD.findall(body)}
