"""The notice on an image whose data may not be what its owner meant."""

from __future__ import annotations

import pytest

from imaged.core.disk_format import DISK_FORMATS, Findings, FormatPolicy, require_declared
from imaged.core.errors import FormatRefused
from imaged.core.lookalike import Lookalike, notice_of
from support.settings import configured


@pytest.mark.parametrize("lookalike", Lookalike)
@pytest.mark.parametrize("disk_format", ["raw", "ami", "ploop"])
def test_a_disk_that_looks_like_something_else(disk_format: str, lookalike: Lookalike) -> None:
    """What it looks like and what to do, in sentences."""
    notice = notice_of(disk_format, 10, lookalike, {})

    assert notice == (
        f"The data looks like {lookalike.phrase}, and not like a disk. {lookalike.remedy}"
    )
    assert notice.endswith(".")


@pytest.mark.parametrize("disk_format", ["aki", "ari"])
def test_kernels_and_ram_disks_are_packed(disk_format: str) -> None:
    """Most are, by gzip, xz or zstd: there is nothing to notice."""
    assert notice_of(disk_format, 10, Lookalike.GZIP, {}) is None


@pytest.mark.parametrize("disk_format", DISK_FORMATS)
def test_data_that_looks_like_a_disk(disk_format: str) -> None:
    """Nothing is noticed."""
    assert notice_of(disk_format, 10, None, {}) is None


@pytest.mark.parametrize("disk_format", DISK_FORMATS)
def test_no_data(disk_format: str) -> None:
    """An image may be empty, and mostly should not be."""
    notice = notice_of(disk_format, 0, None, {})

    assert notice is not None
    assert "0 bytes were sent" in notice


def test_data_in_volumes() -> None:
    """Nova's image of a server that boots from a volume is empty on purpose."""
    assert notice_of("qcow2", 0, None, {"block_device_mapping": "[]"}) is None


@pytest.mark.parametrize("lookalike", Lookalike)
def test_a_refusal_tells_what_it_looks_like(lookalike: Lookalike) -> None:
    """A qcow2 that is packed is not to be declared raw."""
    findings = Findings(frozenset({"raw"}), lookalike=lookalike)

    with pytest.raises(FormatRefused) as refusal:
        require_declared("qcow2", findings, configured(FormatPolicy))

    assert f"It looks like {lookalike.phrase}. {lookalike.remedy}" in str(refusal.value)
