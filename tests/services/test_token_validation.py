"""One question for each token, answers from memory, and what happens when Keystone is silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import anyio
import pytest

from imaged.core.errors import ImagedError, KeystoneSilent, KeystoneUnavailable, TokenRefused
from imaged.core.identity import Identity
from imaged.core.token_cache import TokenCache
from imaged.services.token_validation import TokenValidator
from support.virtual_time import VIRTUAL_START, VirtualClock

pytestmark = pytest.mark.anyio

SECONDS_TO_ANSWER = 1.0


@dataclass
class SlowKeystone:
    """Answers each question after a second: with the error, if there is one."""

    error: ImagedError | None = None
    lives: timedelta = timedelta(hours=1)
    asked: list[tuple[str, bool]] = field(default_factory=list)

    async def validate(self, token: str, *, allow_expired: bool = False) -> Identity:
        """Say who it is."""
        self.asked.append((token, allow_expired))
        await anyio.sleep(SECONDS_TO_ANSWER)
        if self.error is not None:
            raise self.error
        return Identity(
            user=token,
            user_domain="default",
            roles=frozenset({"member"}),
            issued_at=VIRTUAL_START,
            expires_at=VIRTUAL_START + self.lives,
        )


@pytest.fixture
def keystone() -> SlowKeystone:
    """A Keystone that answers."""
    return SlowKeystone()


@pytest.fixture
def validator(keystone: SlowKeystone) -> TokenValidator:
    """With the default time."""
    return TokenValidator(keystone, TokenCache(timedelta(seconds=60)), VirtualClock().now)


@dataclass
class Outcomes:
    """What simultaneous requests were told."""

    users: list[str] = field(default_factory=list)
    errors: list[ImagedError] = field(default_factory=list)

    async def ask(self, validator: TokenValidator, token: str) -> None:
        """One request."""
        try:
            self.users.append((await validator.identify(token)).user)
        except ImagedError as error:
            self.errors.append(error)


async def test_simultaneous_requests_ask_once(
    keystone: SlowKeystone, validator: TokenValidator
) -> None:
    """All get the one answer."""
    outcomes = Outcomes()
    async with anyio.create_task_group() as tasks:
        for _ in range(32):
            tasks.start_soon(outcomes.ask, validator, "token")

    assert outcomes.users == ["token"] * 32
    assert len(keystone.asked) == 1


@pytest.mark.parametrize("error", [TokenRefused(), KeystoneUnavailable("is made up")])
async def test_a_failure_releases_all(
    keystone: SlowKeystone, validator: TokenValidator, error: ImagedError
) -> None:
    """All get the one error."""
    keystone.error, outcomes = error, Outcomes()
    async with anyio.create_task_group() as tasks:
        for _ in range(32):
            tasks.start_soon(outcomes.ask, validator, "token")

    assert outcomes.errors == [error] * 32
    assert len(keystone.asked) == 1


async def test_the_first_one_leaves(keystone: SlowKeystone, validator: TokenValidator) -> None:
    """The next one asks, and the others get that answer."""
    outcomes, first = Outcomes(), anyio.CancelScope()

    async def leave() -> None:
        with first:
            await validator.identify("token")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave)
        await anyio.wait_all_tasks_blocked()
        for _ in range(8):
            tasks.start_soon(outcomes.ask, validator, "token")
        await anyio.wait_all_tasks_blocked()
        first.cancel()

    assert outcomes.users == ["token"] * 8
    assert len(keystone.asked) == 2


async def test_answers_are_used_again(keystone: SlowKeystone, validator: TokenValidator) -> None:
    """Until cache_time is over; refusals for five seconds, outages not at all."""
    for _ in range(2):
        await validator.identify("good")
    assert len(keystone.asked) == 1
    await anyio.sleep(60)
    await validator.identify("good")
    assert len(keystone.asked) == 2

    keystone.error = TokenRefused()
    for pause, asked in ((0, 3), (0, 3), (5, 4)):
        await anyio.sleep(pause)
        with pytest.raises(TokenRefused):
            await validator.identify("bad")
        assert len(keystone.asked) == asked

    keystone.error = KeystoneUnavailable("is made up")
    for asked in (5, 6):
        with pytest.raises(KeystoneUnavailable):
            await validator.identify("new")
        assert len(keystone.asked) == asked
    assert (await validator.identify("good")).user == "good"


async def test_a_token_ends_before_its_answer(
    keystone: SlowKeystone, validator: TokenValidator
) -> None:
    """Then Keystone is asked again; one that has ended by our clock alone is good, and not kept."""
    keystone.lives = timedelta(seconds=30)
    await validator.identify("token")
    await anyio.sleep(28)
    await validator.identify("token")
    assert len(keystone.asked) == 1
    await anyio.sleep(1)
    for asked in (2, 3):
        assert (await validator.identify("token")).user == "token"
        assert len(keystone.asked) == asked


async def test_an_expired_token_of_a_service(
    keystone: SlowKeystone, validator: TokenValidator
) -> None:
    """It is kept for those who may use it, and for no others."""
    keystone.lives = timedelta(seconds=-1)
    for _ in range(2):
        await validator.identify("token", allow_expired=True)
    keystone.error = TokenRefused()
    with pytest.raises(TokenRefused):
        await validator.identify("token")
    await validator.identify("token", allow_expired=True)

    assert keystone.asked == [("token", True), ("token", False)]


@pytest.mark.parametrize("token", ["", " ", "=", "two words", "tab\tbed", "ümlaut", "x" * 3073])
async def test_what_cannot_be_a_token(
    keystone: SlowKeystone, validator: TokenValidator, token: str
) -> None:
    """Keystone is not asked."""
    with pytest.raises(TokenRefused):
        await validator.identify(token)
    assert not keystone.asked


async def test_what_keystone_ignores(keystone: SlowKeystone, validator: TokenValidator) -> None:
    """It makes no other token."""
    for token in ("token", "token=", "token==", " token ", "token= \t"):
        await validator.identify(token)

    assert keystone.asked == [("token", False)]


async def test_silence_holds_up_one_request(
    keystone: SlowKeystone, validator: TokenValidator
) -> None:
    """The others are refused at once, until an answer comes."""
    keystone.error = KeystoneSilent("is made up")
    with pytest.raises(KeystoneSilent):
        await validator.identify("first")

    outcomes, began = Outcomes(), anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(outcomes.ask, validator, f"token-{number}")
    assert len(outcomes.errors) == 8
    assert anyio.current_time() - began == SECONDS_TO_ANSWER
    assert len(keystone.asked) == 2

    keystone.error = None
    await validator.identify("back")
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(outcomes.ask, validator, f"token-{number}")
    assert len(outcomes.users) == 8
