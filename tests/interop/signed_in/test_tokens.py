"""Tokens of a real Keystone: which are good for what, and what they are while Keystone is away."""

from __future__ import annotations

import asyncio
import json
from asyncio import to_thread
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from support.client import Client
from support.cloud import Cloud, running_cloud
from support.keystone import running_keystone
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

LIST = {"service": "image", "method": "GET", "path": "/v2/images"}
SHORT_LIFE = timedelta(seconds=5)
PATIENCE_SECONDS = 120


def trust_of(cloud: Cloud) -> str:
    """A token with which someone without a project acts in that of the member."""
    keystone = cloud.keystone
    trustee = keystone.create_user()
    return keystone.trust_token(trustee, keystone.create_trust(cloud.member, trustee, ["member"]))


def ended_trust(cloud: Cloud) -> str:
    """Keystone answers 403 for it, not 404."""
    keystone = cloud.keystone
    trustor, trustee = keystone.create_person(), keystone.create_user()
    token = keystone.trust_token(trustee, keystone.create_trust(trustor, trustee, ["member"]))
    keystone.take_back("member", trustor, project=trustor.project)
    assert keystone.validate(token).status == 403
    return token


def revoked(cloud: Cloud) -> str:
    """Of a user who has signed out."""
    keystone = cloud.keystone
    token = keystone.token(cloud.member)
    keystone.revoke(token)
    return token


def of_disabled_user(cloud: Cloud) -> str:
    """Of someone who has left."""
    keystone = cloud.keystone
    user = keystone.create_person()
    token = keystone.token(user)
    keystone.change_user(user, enabled=False)
    return token


def in_scope(*, on_system: bool) -> Callable[[Cloud], str]:
    """Of a reader, for a domain or for the system."""

    def make(cloud: Cloud) -> str:
        keystone = cloud.keystone
        user = keystone.create_user()
        scope = {"on_system": True} if on_system else {"domain": "default"}
        keystone.grant("reader", user, **scope)
        return keystone.token(user, **scope)

    return make


def restricted(*rules: Mapping[str, str]) -> Callable[[Cloud], str]:
    """Of an application credential that is for these calls only."""

    def make(cloud: Cloud) -> str:
        keystone = cloud.keystone
        return keystone.credential_token(*keystone.create_credential(cloud.member, rules))

    return make


#: What a list of images is answered, and what showing a private image of the member's project is.
TOKENS: Mapping[str, tuple[Callable[[Cloud], str], int, int]] = {
    "of a member": (lambda cloud: cloud.keystone.token(cloud.member), 200, 200),
    "of an application credential": (restricted(), 200, 200),
    "of a trust": (trust_of, 200, 200),
    "of another project": (lambda cloud: cloud.keystone.token(cloud.neighbour), 200, 404),
    "unscoped": (lambda cloud: cloud.keystone.unscoped_token(cloud.member), 403, 403),
    "for a domain": (in_scope(on_system=False), 403, 404),
    "for the system": (in_scope(on_system=True), 403, 404),
    "of a service": (
        lambda cloud: cloud.keystone.token(cloud.keystone.create_person("service")), 403, 404
    ),
    "restricted to lists": (restricted(LIST), 200, 401),
    "restricted to images": (restricted(LIST | {"path": "/v2/images/*"}), 401, 200),
    "restricted to another service": (restricted(LIST | {"service": "compute"}), 401, 401),
    "restricted to another method": (restricted(LIST | {"method": "POST"}), 401, 401),
    "revoked": (revoked, 401, 401),
    "of a trust whose trustor lost the role": (ended_trust, 401, 401),
    "of a disabled user": (of_disabled_user, 401, 401),
    "invented": (lambda _: "made-up", 401, 401),
    "changed": (lambda cloud: cloud.keystone.token(cloud.member)[:-4] + "AAAA", 401, 401),
    "much too long": (lambda _: "A" * 7000, 401, 401),
    "absent": (lambda _: "", 401, 401),
}  # fmt: skip


async def test_the_table_of_tokens(cloud: Cloud) -> None:
    """Each is good for what Keystone made it for, at the first question and from the cache."""
    async with cloud.client(cloud.member) as client:
        image_id = await client.create(visibility="private")
    expected, seen = {}, {}
    for name, (make, listed, shown) in TOKENS.items():
        token = await to_thread(make, cloud)
        expected[name] = (listed, shown, listed, shown)
        async with Client(cloud.daemon.url, token) as client:
            paths = ["/v2/images", f"/v2/images/{image_id}"] * 2
            seen[name] = tuple([(await client.request("GET", path))[0] for path in paths])

    assert seen == expected


async def test_an_expired_token(cloud: Cloud) -> None:
    """It ends when it ends, also in the cache."""
    end = datetime.now(UTC) + SHORT_LIFE
    credential = cloud.keystone.create_credential(cloud.member, expires_at=end)
    token = cloud.keystone.credential_token(*credential)
    async with Client(cloud.daemon.url, token) as client:
        assert (await client.request("GET", "/v2/images"))[0] == 200

        async def is_refused() -> bool:
            status, _ = await client.request("GET", "/v2/images")
            assert status in {200, 401}
            return status == 401

        await until(is_refused, "the token never ends")
    assert datetime.now(UTC) >= end - timedelta(seconds=1), "Keystone cuts to whole seconds"
    assert cloud.keystone.validate(token).status == 404


@pytest_asyncio.fixture
async def mortal_cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    """One whose Keystone may be killed."""
    with running_keystone() as keystone:
        async with running_cloud(tmp_path, keystone) as cloud:
            yield cloud


Answers = Mapping[str, AbstractSet[int]]

#: What a client may be answered before Keystone is killed, while it is away, and when it is back.
KNOWN: Answers = {"before": {200}, "away": {200}, "back": {200}}
NOT_YET_ASKED: Answers = {"before": frozenset(), "away": {503}, "back": {200, 503}}
BAD: Answers = {"before": {401}, "away": {401, 503}, "back": {401, 503}}


@dataclass
class Asking:
    """A client that asks again and again with one token, and what it was answered in each phase."""

    token: str
    allowed: Answers
    at_last: int
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def has_asked(self, phase: str, times: int) -> bool:
        """Whether so often, if it does at all."""
        asked = sum(count for (when, _), count in self.answers.items() if when == phase)
        return asked >= times or not self.allowed[phase]


@dataclass
class Crowd:
    """All of them, and the phase in which Keystone is."""

    cloud: Cloud
    image_id: str
    clients: Sequence[Asking]
    phase: str = "before"
    is_over: bool = False

    async def ask(self, one: Asking) -> None:
        """Let a client ask until it is over. An answer that is not allowed fails the test."""
        async with Client(self.cloud.daemon.url, one.token) as client:
            while not self.is_over:
                if one.allowed[began := self.phase]:
                    status, body = await client.request("GET", "/v2/images")
                    # One that came after the turn of a phase belongs to either.
                    assert status in one.allowed[began] | one.allowed[self.phase]
                    one.answers[self.phase, status] += 1
                    if status == 200:
                        (found,) = json.loads(body)["images"]
                        assert found["id"] == self.image_id
                await asyncio.sleep(0)

    async def until_all(self, is_enough: Callable[[Asking], bool]) -> None:
        """Wait until it is enough for each."""

        async def have_all() -> bool:
            return all(is_enough(one) for one in self.clients)

        def told() -> str:
            return f"{self.phase}: {[one.answers for one in self.clients]}"

        await until(have_all, told, PATIENCE_SECONDS)


async def test_keystone_killed_under_32_clients(mortal_cloud: Cloud) -> None:
    """Those whose tokens are known notice nothing; no other is let in, or taken for a stranger."""
    cloud, keystone = mortal_cloud, mortal_cloud.keystone
    async with cloud.client(cloud.member) as client:
        image_id = await client.create(visibility="private")
    clients = [
        *(Asking(keystone.token(cloud.member), KNOWN, 200) for _ in range(16)),
        *(Asking(keystone.token(cloud.member), NOT_YET_ASKED, 200) for _ in range(8)),
        *(Asking(revoked(cloud), BAD, 401) for _ in range(4)),
        *(Asking(f"made-up-{number}", BAD, 401) for number in range(4)),
    ]
    crowd = Crowd(cloud, image_id, clients)

    async with asyncio.TaskGroup() as group:
        for one in clients:
            group.create_task(crowd.ask(one))
        await crowd.until_all(lambda one: one.has_asked("before", 1))
        keystone.kill()
        crowd.phase = "away"
        await crowd.until_all(lambda one: one.has_asked("away", 3))
        await to_thread(keystone.start)
        crowd.phase = "back"
        await crowd.until_all(lambda one: one.answers["back", one.at_last] > 0)
        crowd.is_over = True

    for one in clients:
        if one.allowed is NOT_YET_ASKED:
            assert one.answers["away", 503] >= 3
