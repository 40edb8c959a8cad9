"""Commands that sign in to a real Keystone, whose catalog has imaged."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from asyncio import to_thread
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import pytest_asyncio

from imaged.client.clouds import read_variables
from imaged.client.http_session import open_http_session
from imaged.client.image_api import ImageApi
from imaged.core.lifecycle import Status
from support.cloud import Cloud, running_cloud
from support.daemon import clean_environment
from support.imaged_process import IMAGED
from support.keystone import Keystone, running_keystone
from support.ports import reserve_port
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

DATA = os.urandom(3 << 20)
SHORT_LIFE = timedelta(seconds=8)


@pytest_asyncio.fixture
async def cloud(tmp_path: Path, keystone: Keystone) -> AsyncIterator[Cloud]:
    """Keystone and a daemon, with ``disk.raw`` in its folder, where commands run."""
    (tmp_path / "disk.raw").write_bytes(DATA)
    async with running_cloud(tmp_path, keystone) as cloud:
        yield cloud


async def call(
    cloud: Cloud, *arguments: str, told: str = "", **environment: str
) -> CompletedProcess[str]:
    """Run a command of a user whose folder is the daemon's."""
    return await to_thread(
        subprocess.run,
        [IMAGED, *arguments],
        check=False,
        capture_output=True,
        encoding="utf-8",
        input=told,
        cwd=cloud.daemon.folder,
        env=clean_environment() | {"XDG_CONFIG_HOME": str(cloud.daemon.folder)} | environment,
    )


async def succeed(cloud: Cloud, *arguments: str, **environment: str) -> str:
    """Run a command, which must succeed; its output."""
    done = await call(cloud, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def refusal(cloud: Cloud, *arguments: str, **environment: str) -> Mapping[str, str]:
    """Run a command, which must be refused; the error and its remedy."""
    done = await call(cloud, *arguments, "--json", **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    told: Mapping[str, str] = json.loads(done.stdout)
    assert cloud.member.password not in done.stdout + done.stderr
    return told


async def push_pull_and_list(cloud: Cloud, *options: str, **environment: str) -> None:
    """Push a file, list it, show it and pull it; the catalog has it in the member's project."""
    pushed = await succeed(cloud, "push", "disk.raw", *options, **environment)
    image_id = pushed.strip()
    image = await cloud.image(image_id)
    listed = json.loads(await succeed(cloud, "ls", "--json", *options, **environment))
    await succeed(cloud, "pull", image_id, "-o", f"{image_id}.copy", *options, **environment)
    await succeed(cloud, "rm", image_id, *options, **environment)

    assert (image.status, image.owner) == (Status.ACTIVE, cloud.member.project)
    assert [one["id"] for one in listed] == [image_id]
    assert (cloud.daemon.folder / f"{image_id}.copy").read_bytes() == DATA


async def test_a_login_with_a_password(cloud: Cloud) -> None:
    """It is read from standard input, kept where others cannot read it, and printed nowhere."""
    user, keystone = cloud.member, cloud.keystone
    who = ("--username", user.name, "--project-id", user.project, "--region-name", cloud.region)
    where = ("login", "--auth-url", keystone.url, "--profile", "lab", *who)
    wrong = await call(cloud, *where, told="guessed\n")
    done = await call(cloud, *where, told=f"{user.password}\n")
    file = cloud.daemon.folder / "imaged/profiles.toml"

    assert wrong.returncode == 1
    assert f"does not let the user {user.name} sign in" in wrong.stderr
    assert "guessed" not in wrong.stderr
    assert done.returncode == 0, done.stderr
    assert "Commands use the image service of Keystone at 127.0.0.1" in done.stdout
    assert user.password in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    profiles = await succeed(cloud, "profiles")
    assert f"of Keystone, for the user {user.name}" in profiles
    assert user.password not in done.stdout + done.stderr + profiles
    await push_pull_and_list(cloud)
    await succeed(cloud, "logout")
    assert user.password not in file.read_text()


async def test_a_login_with_an_application_credential(cloud: Cloud) -> None:
    """Its secret is in a file; the address of the service is given, and not in the catalog."""
    credential, secret = cloud.keystone.create_credential(cloud.member)
    (cloud.daemon.folder / "secret").write_text(f"{secret}\n")
    await succeed(
        cloud, "login", f"{cloud.daemon.url}/v2", "--auth-url", cloud.keystone.url,
        "--application-credential-id", credential, "--password-file", "secret",
    )  # fmt: skip

    await push_pull_and_list(cloud)
    found = json.loads(await succeed(cloud, "profiles", "--json"))
    assert found["profiles"] == [
        {
            "profile": cloud.daemon.url.partition("://")[2],
            "url": cloud.daemon.url,
            "auth_url": cloud.keystone.url,
            "has_token": False,
        }
    ]


async def test_openrc(cloud: Cloud) -> None:
    """Variables are enough; `imaged login` keeps what they say."""
    variables = dict(cloud.variables(cloud.member))
    await push_pull_and_list(cloud, **variables)
    await succeed(cloud, "login", **variables)

    await push_pull_and_list(cloud)


async def test_a_token_with_the_address_of_keystone(cloud: Cloud) -> None:
    """In the environment, and in the file of a login."""
    token = cloud.keystone.token(cloud.member)
    where = {"OS_AUTH_URL": cloud.keystone.url, "OS_REGION_NAME": cloud.region}
    (cloud.daemon.folder / "token").write_text(token)
    await push_pull_and_list(cloud, OS_TOKEN=token, **where)
    await succeed(
        cloud, "login", "--auth-url", cloud.keystone.url, "--token-file", "token",
        "--region-name", cloud.region,
    )  # fmt: skip
    await push_pull_and_list(cloud)

    cloud.keystone.revoke(token)
    told = await refusal(cloud, "ls")
    assert "does not know the token: perhaps it has ended" in told["error"]


async def test_a_cloud(cloud: Cloud) -> None:
    """By OS_CLOUD, by an option, and as a profile."""
    cloud.write_clouds(lab=cloud.member)
    await push_pull_and_list(cloud, OS_CLOUD="lab")
    await push_pull_and_list(cloud, "--cloud", "lab")
    await push_pull_and_list(cloud, "--profile", "lab")


async def test_what_goes_wrong_is_a_sentence(cloud: Cloud) -> None:
    """It says what, and which variable to set."""
    variables = dict(cloud.variables(cloud.member))
    without_project = {name: text for name, text in variables.items() if "PROJECT" not in name}
    wrong = await refusal(cloud, "ls", **{**variables, "OS_PASSWORD": "guessed"})
    none = await refusal(cloud, "ls", **without_project)
    unknown = await refusal(cloud, "ls", **{**variables, "OS_PROJECT_ID": "none"})
    away = f"http://127.0.0.1:{reserve_port()}/v3"
    silent = await refusal(cloud, "ls", **{**variables, "OS_AUTH_URL": away})
    other = await refusal(cloud, "ls", **{**variables, "OS_AUTH_URL": cloud.daemon.url})

    assert wrong["error"].endswith(f"does not let the user {cloud.member.name} sign in.")
    assert wrong["remedy"].startswith("Check OS_PASSWORD, and the names")
    assert none["error"].endswith("a token without a project.")
    assert none["remedy"].startswith("Set OS_PROJECT_NAME")
    assert unknown["error"] == wrong["error"]
    assert silent["error"].endswith("cannot be reached: Connection refused.")
    assert "OS_AUTH_URL" in silent["remedy"]
    assert "not that of the Identity API v3" in other["error"]


async def test_regions_and_no_service(cloud: Cloud) -> None:
    """The region is chosen by its user if there are several; where there is none, it is said."""
    keystone = cloud.keystone
    keystone.create_service("image", "http://127.0.0.1:1", "another")
    variables = dict(cloud.variables(cloud.member))
    region = variables.pop("OS_REGION_NAME")
    several = await refusal(cloud, "ls", **variables)
    nowhere = await refusal(cloud, "ls", OS_REGION_NAME="nowhere", **variables)
    await succeed(cloud, "ls", OS_REGION_NAME=region, **variables)

    assert "has image services in several regions" in several["error"]
    assert "another" in several["error"]
    assert several["remedy"] == "Set OS_REGION_NAME to one of them."
    assert "no image service in the region nowhere" in nowhere["error"]
    assert region in nowhere["remedy"]


async def test_a_revoked_token_leads_to_one_new_sign_in(tmp_path: Path, keystone: Keystone) -> None:
    """The request that it was for is repeated."""
    short = {"auth.keystone": {"cache_time": "1ms"}}
    async with running_cloud(tmp_path, keystone) as cloud:
        merged = {**cloud.daemon.settings["auth.keystone"], **short["auth.keystone"]}
        cloud.daemon.configure(**{"auth.keystone": merged})
        await cloud.daemon.end()
        await cloud.daemon.start()
        endpoint = read_variables(cloud.variables(cloud.member))
        async with open_http_session(endpoint) as session:
            images = ImageApi(session)
            await images.list({}, 1)
            first = session._signed_in
            assert first is not None
            keystone.revoke(first.token)
            await images.list({}, 1)
            second = session._signed_in
            await images.list({}, 1)

        assert second is not None
        assert first.token != second.token
        assert session._signed_in is second


async def test_a_push_outlives_its_token(tmp_path: Path) -> None:
    """The upload that is under way goes on; what follows has a new token."""
    (tmp_path / "disk.raw").write_bytes(DATA)
    with running_keystone() as keystone:
        async with running_cloud(tmp_path, keystone) as cloud:
            keystone.settings = {"token": {"expiration": SHORT_LIFE.seconds}}
            keystone.kill()  # its admin and imaged keep their tokens
            keystone.start()
            push = await asyncio.create_subprocess_exec(
                IMAGED, "push", "-", "--disk-format", "raw", "--container-format", "bare",
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=tmp_path,
                env=clean_environment() | dict(cloud.variables(cloud.member)),
            )  # fmt: skip
            assert push.stdin is not None
            assert push.stderr is not None
            push.stdin.write(DATA[: 2 << 20])  # the beginning is looked at first
            line = (await push.stderr.readline()).decode()
            image_id = line.removeprefix("The image is ").strip(".\n")

            async def is_sent() -> bool:
                return (await cloud.image(image_id)).status is Status.SAVING

            await push.stdin.drain()
            await until(is_sent)
            later = keystone.token(cloud.member)  # than that of the push

            async def has_ended() -> bool:
                return (await to_thread(keystone.validate, later)).status == 404

            await until(has_ended)
            output, errors = await push.communicate(DATA[2 << 20 :])

            assert push.returncode == 0, errors
            assert output.decode().strip() == image_id
            image = await cloud.image(image_id)
            assert image.content is not None
            assert image.content.size_bytes == len(DATA)
