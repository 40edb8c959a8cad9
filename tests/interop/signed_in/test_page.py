"""The page for users of OpenStack's clients: its files, and its commands as they type them."""

from __future__ import annotations

import re

import pytest

from support.cloud import Cloud
from support.page_claims import typed_in
from support.page_examples import ROOT, Step
from support.terminal import on_a_terminal

PAGE = "docs/how-to/use-openstack-clients.md"
TYPIST = "tests/interop/signed_in/test_page.py"

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


def with_secrets(text: str, cloud: Cloud) -> str:
    """A file of the page, with the addresses, names and secrets of a cloud in place of its own."""
    keystone, user = cloud.keystone, cloud.member
    credential, secret = keystone.create_credential(user)
    project = keystone.told("GET", f"/projects/{user.project}")["project"]["name"]
    here = {
        "https://keystone.example.net:5000/v3": keystone.url,
        "ann": user.name,
        "web": project,
        "0f6d…": credential,
        "RegionOne": cloud.region,
        "made-up": secret if "application_credential" in text else user.password,
    }
    for shown, real in here.items():
        text = re.sub(rf"(?<=[ =]){re.escape(shown)}$", real, text, flags=re.MULTILINE)
    return text


async def test_the_page(cloud: Cloud) -> None:
    """With each of its two files the client signs in; with the first it does what is shown."""
    folder = cloud.daemon.folder
    files = re.findall(r"```yaml\n(.*?)```", (ROOT / PAGE).read_text(), re.DOTALL)
    user_file, program_file = (with_secrets(text, cloud) for text in files)
    file = folder / "clouds.yaml"
    file.write_text(program_file)
    code, text = await on_a_terminal("openstack --os-cloud backup image list", folder)
    assert code == 0, text

    file.write_text(user_file)
    for block in typed_in(TYPIST, PAGE):
        for step in block.steps:
            code, output = await on_a_terminal(step.command.removeprefix("$ "), folder)
            assert code == 0, f"{step.command}\n{output}"
            assert not step.shown or Step("", step.shown).is_shown_by(output), output
