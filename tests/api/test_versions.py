"""Which minor versions are announced: those whose calls are all served, in a set with gaps."""

from __future__ import annotations

import re

import pytest

from imaged.api.versions import CALLS_OF_VERSIONS, announced_versions
from references.calls import CALLS
from support.service import Service

ALL = {call for calls in CALLS_OF_VERSIONS.values() for call in calls}
SERVED = {f"{method} {path}" for method, path in CALLS}


def test_all_calls_make_all_versions() -> None:
    """The highest first, as the current one is."""
    assert announced_versions(ALL) == [f"v2.{minor}" for minor in range(18, -1, -1)]


@pytest.mark.parametrize("call", sorted(ALL))
def test_a_missing_call_hides_its_versions(call: str) -> None:
    """And no other: what came later may be there without it."""
    without = announced_versions(ALL - {call})
    hidden = {f"v2.{minor}" for minor, calls in CALLS_OF_VERSIONS.items() if call in calls}
    assert set(announced_versions(ALL)) - set(without) == hidden
    assert hidden


def test_parameters_may_have_other_names() -> None:
    """A path is the same whatever its handler calls its parts."""
    renamed = {re.sub(r"\{\w+\}", "{other}", call) for call in ALL}
    assert announced_versions(renamed) == announced_versions(ALL)


def test_what_is_announced_today() -> None:
    """A version that is not announced lacks a call, and one that is announced lacks none."""
    announced = announced_versions(SERVED)
    assert {"v2.0", "v2.1", "v2.3", "v2.4", "v2.5", "v2.6", "v2.7", "v2.12", "v2.15"} <= set(
        announced
    )
    assert not {"v2.2", "v2.8", "v2.10", "v2.14", "v2.16", "v2.18"} & set(announced)


@pytest.mark.asyncio
async def test_the_list_is_made_of_the_paths(service: Service) -> None:
    """The application announces what its own table has, the highest as the current one."""
    listed = (await service.call("GET", "/versions", caller=None)).json()["versions"]
    assert [one["id"] for one in listed] == announced_versions(SERVED)
    assert [one["status"] for one in listed] == ["CURRENT", *["SUPPORTED"] * (len(listed) - 1)]


@pytest.mark.asyncio
@pytest.mark.parametrize("minor", CALLS_OF_VERSIONS)
async def test_calls_are_below_every_version(service: Service, minor: int) -> None:
    """Also below one that is not announced; a call that does not exist is 404 there, too."""
    image_id = await service.create()
    shown = await service.call("GET", f"/v2.{minor}/images/{image_id}")
    missing = await service.call("GET", f"/v2.{minor}/metadefs/namespaces")
    assert (shown.status, missing.status) == (200, 404)
