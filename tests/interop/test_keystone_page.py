"""The page about Keystone, typed by an operator of a cloud."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from support.daemon import Daemon
from support.keystone import Keystone, User, running_keystone
from support.page_claims import typed_in
from support.page_examples import Step
from support.terminal import on_a_terminal

PAGE = "docs/how-to/use-keystone.md"
TYPIST = "tests/interop/test_keystone_page.py"

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


@pytest_asyncio.fixture
async def own_keystone() -> AsyncIterator[Keystone]:
    """One without any service."""
    with running_keystone() as keystone:
        yield keystone


def cloud(keystone: Keystone, user: User, project: str) -> Mapping[str, str]:
    """The variables by which the client signs in."""
    return {
        "OS_AUTH_URL": keystone.url,
        "OS_USERNAME": user.name,
        "OS_PASSWORD": user.password,
        "OS_PROJECT_NAME": project,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
    }


async def test_the_page(own_keystone: Keystone, tmp_path: Path) -> None:
    """The account, the catalogue, the settings and the first image, as the page has them."""
    daemon, home = Daemon(tmp_path), tmp_path / "home"
    home.mkdir()
    replacements = {
        "https://images.example.net": daemon.url,
        "install -m 640 -g imaged": "install -m 640",
        "/etc/imaged/": f"{tmp_path}/",
        "imaged check-config": f"imaged check-config --config {daemon.config}",
        "imaged doctor": f"imaged doctor --config {daemon.config}",
    }
    admin = cloud(own_keystone, own_keystone.admin, "admin")
    account = {
        "url": own_keystone.url,
        "username": "imaged",
        "password_file": str(tmp_path / "keystone.password"),
        "project": "service",
    }
    for block in typed_in(TYPIST, PAGE):
        for step in block.steps:
            command = step.command.removeprefix("$ ").removeprefix("# ")
            for there, here in replacements.items():
                command = command.replace(there, here)
            if command == "systemctl restart imaged":
                await daemon.start()
                continue
            if command.startswith("install"):
                daemon.configure(**{"auth": {"method": "keystone"}, "auth.keystone": account})
            output = await typed(command, home, admin)
            shown = Step(command, step.shown.replace("https://images.example.net", daemon.url))
            assert not step.shown or shown.is_shown_by(output), output
    assert await daemon.end(signal.SIGTERM) == 0


async def typed(command: str, folder: Path, more: Mapping[str, str]) -> str:
    """Type a command, which must succeed; what it shows."""
    code, text = await on_a_terminal(command, folder, more)
    is_good = "Problems: 0." in text if command.startswith("imaged doctor") else not code
    assert is_good, f"{command}\n{text}"  # doctor warns of a machine without a time service
    return text
