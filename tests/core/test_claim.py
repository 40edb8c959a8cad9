"""A claim stands, or it is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imaged.core.claim import (
    Claim,
    InstanceId,
    instance_of,
    process_holder,
    require_claim,
)
from imaged.core.errors import ClaimLost
from support.sample_images import claim


def test_the_standing_claim_is_ours() -> None:
    """An equal claim is the same claim, wherever it was read from."""
    require_claim(claim(), replace(claim()))


@pytest.mark.parametrize("standing", [None, claim(2)])
def test_any_other_claim_is_not_ours(standing: Claim | None) -> None:
    """A claim that ended, or that another holder took, is lost."""
    with pytest.raises(ClaimLost):
        require_claim(standing, claim())


@pytest.mark.parametrize("name", ["host-12-0a1b2c3d", "a#7-00000000", "#-ffffffff", "ü/1-12345678"])
def test_a_holder_belongs_to_its_instance(name: str) -> None:
    """An instance is a holder itself, and each of its processes is another one."""
    instance = InstanceId(name)
    holders = [process_holder(instance, number) for number in (1, 2, 12)]

    assert instance_of(instance) == instance
    assert {instance_of(holder) for holder in holders} == {instance}
    assert len({instance, *holders}) == 4
