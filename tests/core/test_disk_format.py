"""What was declared against what was found."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from itertools import product

import pytest

from imaged.core.disk_format import (
    CONTAINER_FORMATS,
    DISK_FORMATS,
    Findings,
    Flaw,
    FormatPolicy,
    Lookalike,
    is_inspected,
    notice_of,
    require_declared,
)
from imaged.core.errors import FormatRefused
from support.settings import configured

STRICT = configured(FormatPolicy)
#: What an inspector may find.
FOUND = [
    *(frozenset({name}) for name in ("raw", "gpt", "iso", "qcow2", "vhd", "vhdx", "vmdk", "vdi")),
    *(frozenset({name}) for name in ("qed", "luks", "udf")),
    frozenset({"gpt", "udf"}),
    frozenset({"gpt", "luks"}),
    frozenset({"iso", "vhd"}),
    frozenset({"iso", "gpt"}),
    frozenset({"iso", "qcow2"}),
    frozenset({"gpt", "qcow2"}),
    frozenset({"iso", "gpt", "qcow2"}),
]

#: What is accepted, written out once more: declared, and what may be found then.
ACCEPTED = {
    "raw": {"raw", "gpt", "luks", "udf", "gpt+udf"},
    "iso": {"iso", "gpt+iso", "udf", "gpt+udf"},
    "ami": {"raw", "gpt", "luks", "udf", "gpt+udf"},
    "ari": {"raw", "gpt", "luks", "udf", "gpt+udf"},
    "aki": {"raw", "gpt", "luks", "udf", "gpt+udf"},
    "ploop": {"raw", "gpt", "luks", "udf", "gpt+udf"},
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


REMEDIES = {
    ("raw", "qcow2"): "Set 'disk_format' to qcow2,",
    ("raw", "vhd"): "Set 'disk_format' to vhd,",
    ("qcow2", "raw"): "Set 'disk_format' to raw,",
    ("qcow2", "gpt"): "Set 'disk_format' to raw,",
    ("qcow2", "luks"): "Set 'disk_format' to raw,",
    ("qcow2", "udf"): "Set 'disk_format' to raw,",
    ("raw", "gpt+iso"): "Set 'disk_format' to iso,",
    ("raw", "qed"): "No 'disk_format' fits it:",
    ("raw", "gpt+qcow2"): "No 'disk_format' fits it:",
    ("vhd", "iso+vhd"): "No 'disk_format' fits it:",
}


@pytest.mark.parametrize(("declared", "found"), REMEDIES)
def test_a_refusal_names_what_would_be_accepted(declared: str, found: str) -> None:
    """The attribute that fits the data, or that there is none."""
    with pytest.raises(FormatRefused) as refusal:
        require_declared(declared, Findings(frozenset(found.split("+"))), STRICT)

    assert REMEDIES[declared, found] in str(refusal.value)


@pytest.mark.parametrize("flaw", Flaw)
def test_each_flaw_is_told_with_its_remedy(flaw: Flaw) -> None:
    """What the data has, and what its owner can do, as a sentence."""
    with pytest.raises(FormatRefused) as refusal:
        require_declared("qcow2", Findings(frozenset({"qcow2"}), flaws=(flaw,)), STRICT)

    assert str(refusal.value) == f"The data is refused because it has {flaw.phrase}. {flaw.remedy}"
    assert flaw.remedy[0].isupper()
    assert flaw.remedy.endswith(".")


def test_one_remedy_for_two_flaws_is_told_once() -> None:
    """Nothing is said twice."""
    flaws = (Flaw.FOOTER, Flaw.UNREADABLE)

    with pytest.raises(FormatRefused) as refusal:
        require_declared("vhd", Findings(frozenset({"vhd"}), flaws=flaws), STRICT)

    assert str(refusal.value).count(Flaw.FOOTER.remedy) == 1


UNSAFE = Findings(frozenset({"qcow2"}), 100, (Flaw.BACKING_FILE, Flaw.DATA_FILE))


@pytest.mark.parametrize("declared", DISK_FORMATS)
@pytest.mark.parametrize("check_format", [True, False])
@pytest.mark.parametrize("refuse_unsafe", [True, False])
def test_both_checks_can_be_switched_off(
    declared: str, *, check_format: bool, refuse_unsafe: bool
) -> None:
    """Each by itself. A format that is as declared does not excuse what is unsafe, and all of it is
    named.
    """
    policy = FormatPolicy(check_format=check_format, refuse_unsafe=refuse_unsafe)
    if check_format and declared != "qcow2":
        words = f"says {declared}"
    elif refuse_unsafe:
        words = "a backing file, an external data file"
    else:
        require_declared(declared, UNSAFE, policy)
        return
    with pytest.raises(FormatRefused, match=words):
        require_declared(declared, UNSAFE, policy)


@pytest.mark.parametrize("container_format", CONTAINER_FORMATS)
def test_only_bare_images_are_inspected(container_format: str) -> None:
    """What is inside of another container shows only when it is unpacked."""
    assert is_inspected(container_format) is (container_format == "bare")


@pytest.mark.parametrize("lookalike", Lookalike)
@pytest.mark.parametrize("disk_format", ["raw", "ami", "ploop"])
def test_a_disk_that_looks_like_something_else(disk_format: str, lookalike: Lookalike) -> None:
    """What it looks like and what to do, in sentences."""
    notice = notice_of(disk_format, 10, lookalike, {})

    assert notice == (
        f"The data looks like {lookalike.phrase}, and not like a disk. {lookalike.remedy}"
    )
    assert notice.endswith(".")


@pytest.mark.parametrize("disk_format", DISK_FORMATS)
def test_what_is_not_noticed(disk_format: str) -> None:
    """A disk, a packed kernel or RAM disk, and an image without bytes of its own: Nova makes one of
    a server that boots from a volume. Any other without bytes is noticed.
    """
    assert notice_of(disk_format, 10, None, {}) is None
    assert notice_of("aki", 10, Lookalike.GZIP, {}) is None
    assert notice_of("ari", 10, Lookalike.GZIP, {}) is None
    assert notice_of(disk_format, 0, None, {"block_device_mapping": "[]"}) is None
    assert "0 bytes were sent" in (notice_of(disk_format, 0, None, {}) or "")


@pytest.mark.parametrize("lookalike", Lookalike)
def test_a_refusal_tells_what_it_looks_like(lookalike: Lookalike) -> None:
    """A qcow2 that is packed is not to be declared raw."""
    findings = Findings(frozenset({"raw"}), lookalike=lookalike)

    with pytest.raises(FormatRefused) as refusal:
        require_declared("qcow2", findings, configured(FormatPolicy))

    assert f"It looks like {lookalike.phrase}. {lookalike.remedy}" in str(refusal.value)
