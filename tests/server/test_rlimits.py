"""The limit of open files follows the limit of connections."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from imaged.server.server import RESERVED_DESCRIPTORS, raise_file_limit


@pytest.fixture(autouse=True)
def hard() -> Iterator[int]:
    """The hard limit; the soft limit is restored at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("connections", "expected"), [(10, 1000), (2048, 2048 + RESERVED_DESCRIPTORS)]
)
def test_there_is_room(connections: int, expected: int) -> None:
    """The soft limit is raised as needed and never lowered."""
    raise_file_limit(connections)

    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == expected


def test_no_more_than_the_system_allows(hard: int) -> None:
    """A hard limit below the need causes no failure."""
    if hard != resource.RLIM_INFINITY:
        raise_file_limit(hard + 1)

        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
