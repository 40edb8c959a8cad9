"""Answers about tokens: never older than allowed, never too many, and refusals for a short time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imaged.core.errors import TokenRefused
from imaged.core.identity import AccessRule, Identity
from imaged.core.token_cache import REFUSED_FOR, TokenCache

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def identity(user: str = "ann", roles: int = 1, rules: int = 0) -> Identity:
    """An identity with so many roles and rules."""
    return Identity(
        user=user,
        user_domain="default",
        roles=frozenset(map(str, range(roles))),
        issued_at=NOW,
        expires_at=NOW,
        access_rules=(AccessRule("image", "GET", "/"),) * rules,
    )


@pytest.mark.parametrize(
    ("lives_seconds", "ends_at"), [(3600, 60), (60, 60), (10, 10), (0, 0), (-5, 0)]
)
def test_an_answer_ends(lives_seconds: int, ends_at: int) -> None:
    """With cache_time, or with the token if that ends earlier."""
    cache = TokenCache(MINUTE)
    cache.keep(b"one", identity(), 100.0, timedelta(seconds=lives_seconds))

    if ends_at:
        assert cache.find(b"one", 100.0 + ends_at - 0.1) == identity()
    assert cache.find(b"one", 100.0 + ends_at) is None
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_a_shorter_time_counts_at_once() -> None:
    """After a reload, for what is there already."""
    cache = TokenCache(MINUTE)
    cache.keep(b"one", identity(), 0.0, MINUTE)

    cache.cache_time = timedelta(seconds=5)

    assert cache.find(b"one", 4.0) is not None
    assert cache.find(b"one", 5.0) is None


def test_a_refusal_ends() -> None:
    """After a few seconds Keystone is asked again."""
    cache = TokenCache(MINUTE)
    cache.refuse(b"one", 0.0)

    with pytest.raises(TokenRefused):
        cache.find(b"one", REFUSED_FOR.total_seconds() - 0.1)
    assert cache.find(b"one", REFUSED_FOR.total_seconds()) is None
    assert cache.find(b"another", 0.0) is None


def test_the_last_answer_counts() -> None:
    """A good token that is refused is no longer good, and the other way round."""
    cache = TokenCache(MINUTE)
    cache.keep(b"one", identity(), 0.0, MINUTE)
    cache.refuse(b"one", 1.0)
    with pytest.raises(TokenRefused):
        cache.find(b"one", 2.0)

    cache.keep(b"one", identity(), 3.0, MINUTE)
    assert cache.find(b"one", 3.0) == identity()


def test_the_longest_unused_answers_go_first() -> None:
    """When there is no room for all; refusals take none of it."""
    room = TokenCache(MINUTE)
    room.keep(b"one", identity(), 0.0, MINUTE)
    cache = TokenCache(MINUTE, max_bytes=2 * room.size_bytes, max_refusals=2)
    for key in (b"one", b"two"):
        cache.keep(key, identity(), 0.0, MINUTE)
    assert cache.find(b"one", 1.0) is not None

    cache.keep(b"three", identity(), 2.0, MINUTE)
    for number in range(5):
        cache.refuse(bytes([number]), 2.0)

    assert [cache.find(key, 3.0) for key in (b"one", b"two", b"three")] == [
        identity(),
        None,
        identity(),
    ]
    assert len(cache) == 4


def test_what_is_larger_takes_more_room() -> None:
    """Roles and access rules are counted."""
    sizes = []
    for one in (identity(), identity(roles=50), identity(rules=50)):
        cache = TokenCache(MINUTE)
        cache.keep(b"one", one, 0.0, MINUTE)
        sizes.append(cache.size_bytes)

    assert sizes[0] < sizes[1] < sizes[2]


class Tokens(RuleBasedStateMachine):
    """A cache beside a plain list of everything that was ever answered."""

    MAX_BYTES = 5 * 1124
    MAX_REFUSALS = 3

    def __init__(self) -> None:
        super().__init__()
        self.cache = TokenCache(MINUTE, self.MAX_BYTES, self.MAX_REFUSALS)
        self.now = 0.0
        self.last: dict[bytes, tuple[float, Identity | None, float]] = {}
        self.answers = 0

    @rule(seconds=st.sampled_from([0.5, 4.0, 5.0, 20.0, 60.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @rule(seconds=st.sampled_from([1, 10, 60, 300]))
    def reload(self, seconds: int) -> None:
        """An operator sets another time."""
        self.cache.cache_time = timedelta(seconds=seconds)

    @rule(key=st.binary(min_size=1, max_size=1), lives=st.integers(-1, 120))
    def accept(self, key: bytes, lives: int) -> None:
        """Keystone says who it is."""
        self.answers += 1
        found = identity(str(self.answers))
        self.cache.keep(key, found, self.now, timedelta(seconds=lives))
        self.last[key] = (self.now, found, self.now + lives)

    @rule(key=st.binary(min_size=1, max_size=1))
    def refuse(self, key: bytes) -> None:
        """Keystone refuses it."""
        self.cache.refuse(key, self.now)
        self.last[key] = (self.now, None, 0.0)

    @precondition(lambda self: self.last)
    @rule(data=st.data())
    def find(self, data: st.DataObject) -> None:
        """What is found is the last answer, and it is not too old."""
        key = data.draw(st.sampled_from(sorted(self.last)))
        at, said, ends_at = self.last[key]
        try:
            found = self.cache.find(key, self.now)
        except TokenRefused:
            assert said is None
            assert self.now < at + REFUSED_FOR.total_seconds()
            return
        if found is not None:
            assert found is said
            assert self.now < min(at + self.cache.cache_time.total_seconds(), ends_at)

    @invariant()
    def is_bounded(self) -> None:
        """In bytes, and in the number of refusals."""
        assert self.cache.size_bytes <= self.MAX_BYTES
        assert len(self.cache) <= self.MAX_BYTES // 1124 + self.MAX_REFUSALS


TestTokens = Tokens.TestCase
