"""What was declared against what was found."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from itertools import product

import pytest

from imaged.core.disk_format import (
    CONTAINER_FORMATS,
    DISK_FORMATS,
    Findings,
    FormatPolicy,
    is_inspected,
    require_declared,
)
from imaged.core.errors import FormatRefused

STRICT = FormatPolicy()
LENIENT = FormatPolicy(check_format=False, refuse_unsafe=False)

#: What an inspector may find.
FOUND = [
    *(frozenset({name}) for name in ("raw", "gpt", "iso", "qcow2", "vhd", "vhdx", "vmdk", "vdi")),
    *(frozenset({name}) for name in ("qed", "luks")),
    frozenset({"iso", "gpt"}),
    frozenset({"iso", "qcow2"}),
    frozenset({"gpt", "qcow2"}),
    frozenset({"iso", "gpt", "qcow2"}),
]

#: What is accepted, written out once more: declared, and what may be found then.
ACCEPTED = {
    "raw": {"raw", "gpt"},
    "iso": {"iso", "gpt+iso"},
    "ami": {"raw"},
    "ari": {"raw"},
    "aki": {"raw"},
    "ploop": {"raw"},
    "qcow2": {"qcow2"},
    "vhd": {"vhd"},
    "vhdx": {"vhdx"},
    "vmdk": {"vmdk"},
    "vdi": {"vdi"},
}


def test_every_format_that_can_be_declared_is_in_the_table() -> None:
    """The table of these tests forgets none."""
    assert ACCEPTED.keys() == set(DISK_FORMATS)


@pytest.mark.parametrize(("declared", "found"), list(product(DISK_FORMATS, FOUND)))
def test_declared_against_detected(declared: str, found: AbstractSet[str]) -> None:
    """What is in the table is accepted; anything else is refused, and both are named."""
    findings = Findings(found)

    if "+".join(sorted(found)) in ACCEPTED[declared]:
        require_declared(declared, findings, STRICT)
    else:
        with pytest.raises(FormatRefused) as refusal:
            require_declared(declared, findings, STRICT)
        assert f"says {declared}" in str(refusal.value)
        assert " and ".join(sorted(found)) in str(refusal.value)


@pytest.mark.parametrize(("declared", "found"), list(product(DISK_FORMATS, FOUND)))
def test_the_check_can_be_switched_off(declared: str, found: AbstractSet[str]) -> None:
    """Where the format is not checked, anything is accepted as anything."""
    require_declared(declared, Findings(found), FormatPolicy(check_format=False))


UNSAFE = Findings(frozenset({"qcow2"}), 100, ("a backing file", "an external data file"))


def test_unsafe_features_are_refused() -> None:
    """A format that is as declared does not excuse them, and each is named."""
    with pytest.raises(FormatRefused, match="a backing file, an external data file"):
        require_declared("qcow2", UNSAFE, STRICT)


def test_unsafe_features_are_refused_whatever_was_declared() -> None:
    """Also where the format is not checked."""
    with pytest.raises(FormatRefused, match="a backing file"):
        require_declared("raw", UNSAFE, FormatPolicy(check_format=False))


def test_the_refusal_of_unsafe_features_can_be_switched_off() -> None:
    """An operator may trust his users; the format is still checked."""
    policy = FormatPolicy(refuse_unsafe=False)
    require_declared("qcow2", UNSAFE, policy)

    with pytest.raises(FormatRefused, match="says raw"):
        require_declared("raw", UNSAFE, policy)


def test_everything_can_be_switched_off() -> None:
    """Then nothing is refused."""
    require_declared("raw", UNSAFE, LENIENT)


@pytest.mark.parametrize("container_format", CONTAINER_FORMATS)
def test_only_bare_images_are_inspected(container_format: str) -> None:
    """What is inside of another container shows only when it is unpacked."""
    assert is_inspected(container_format) is (container_format == "bare")
