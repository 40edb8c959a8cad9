"""Which checksums servers compare: the page about S3 says what they do."""

from __future__ import annotations

from support.s3_checksums import CHECKSUMS, crc64nvme, observed_at, stated_for
from support.seaweedfs import BUCKET, SeaweedFS, plain_client


def test_seaweedfs_compares_what_the_page_says(s3: SeaweedFS) -> None:
    """Of objects and of parts."""
    assert observed_at(plain_client(s3.endpoint), BUCKET) == stated_for("SeaweedFS")


def test_moto_compares_what_the_page_says(moto: str) -> None:
    """Nothing."""
    assert observed_at(plain_client(moto), BUCKET) == stated_for("moto")


def test_the_checksums_are_those_of_amazon() -> None:
    """The published values of nine digits (NVM Express, RFC 3720, RFC 1952)."""
    digits = b"123456789"

    assert crc64nvme(digits).hex() == "ae8b14860a799888"
    assert CHECKSUMS["CRC-32C"][1](digits).hex() == "e3069283"
    assert CHECKSUMS["CRC32"][1](digits).hex() == "cbf43926"
