"""Digests of a stream, however it is cut."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.digests import CHECKSUM, Digest, ExpectedDigest, is_supported_algorithm

ABC = b"abc"
VECTORS = [  # RFC 1321, appendix A.5; FIPS 180-4, examples
    ("md5", b"", "d41d8cd98f00b204e9800998ecf8427e"),
    ("md5", ABC, "900150983cd24fb0d6963f7d28e17f72"),
    ("sha256", ABC, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
        "sha512",
        ABC,
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
    ),
]


def _digest(algorithm: str, chunks: Sequence[bytes]) -> str:
    digest = Digest(algorithm)
    for chunk in chunks:
        digest.feed(chunk)
    return digest.hexdigest()


@pytest.mark.parametrize(("algorithm", "data", "expected"), VECTORS)
def test_known_vectors(algorithm: str, data: bytes, expected: str) -> None:
    """The published examples come out, whole and byte by byte."""
    byte_by_byte = [bytes([byte]) for byte in data]

    assert _digest(algorithm, [data]) == expected
    assert _digest(algorithm, byte_by_byte) == expected


@given(st.lists(st.binary(max_size=50)))
def test_how_a_stream_is_cut_does_not_matter(chunks: list[bytes]) -> None:
    """Chunks give the digest of all their bytes."""
    assert _digest("sha512", chunks) == hashlib.sha512(b"".join(chunks)).hexdigest()


def test_the_checksum_of_the_api_is_md5() -> None:
    """Clients compare it with their own."""
    assert CHECKSUM == "md5"


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "sha512", "sha3_512", "blake2b"])
def test_usable_algorithms(algorithm: str) -> None:
    """What hashlib always has can be configured."""
    assert is_supported_algorithm(algorithm)


@pytest.mark.parametrize("algorithm", ["", "crc32", "sha-512 ", "shake_128", "shake_256"])
def test_unusable_algorithms(algorithm: str) -> None:
    """What hashlib has not, or without a length of its own, cannot."""
    assert not is_supported_algorithm(algorithm)


def test_an_algorithm_that_the_machine_forbids(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is listed, but refused by OpenSSL's policy, is not usable."""

    def refuse(name: str, *, usedforsecurity: bool) -> None:
        raise ValueError(name, usedforsecurity)

    monkeypatch.setattr(hashlib, "new", refuse)

    assert not is_supported_algorithm("sha512")


@pytest.mark.parametrize(
    "text", ["md5:" + "0" * 32, "SHA256:" + "aB" * 32, "sha512:" + "0123456789abcdef" * 8]
)
def test_what_a_digest_may_be_promised_as(text: str) -> None:
    """Upper case means the same as lower case."""
    expected = ExpectedDigest.parse(text)

    assert f"{expected.algorithm}:{expected.value}" == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        *("md5", "md5:", ":" + "0" * 32, "0" * 32, "crc32:00000000", "shake_128:00"),
        *("md5:" + "0" * 31, "md5:" + "0" * 33, "md5:" + "g" * 32, "md5:" + "٠" * 32),
        *("sha256:" + "0" * 32, "md5:0x" + "0" * 30, "md5: " + "0" * 31),
    ],
)
def test_declared_digests_that_are_refused(text: str) -> None:
    """It could never be verified, without a visible reason."""
    with pytest.raises(ValueError, match=r"digest|digits"):
        ExpectedDigest.parse(text)
