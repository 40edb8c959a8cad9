"""A claim stands, or it is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imaged.core.claim import Claim, require_claim
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
