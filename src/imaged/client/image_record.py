"""The record of an image from a service."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imaged.client.errors import UnexpectedResponse
from imaged.core.digests import CHECKSUM, is_supported_algorithm


@dataclass(frozen=True, slots=True)
class Record:
    """The attributes that the client uses; ``all`` has every attribute."""

    id: str
    name: str
    status: str
    size_bytes: int | None
    digests: Mapping[str, str]  # hexadecimal, by algorithm, the strongest first
    all: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """A hash of id, size and digests; it changes with the data."""
        facts = (self.id, self.size_bytes, sorted(self.digests.items()))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def read_record(answer: object) -> Record:
    """Parse a record. Raises UnexpectedResponse."""
    if not isinstance(answer, dict):
        raise UnexpectedResponse("The answer is not an image.")
    size = answer.get("size")
    try:
        return Record(
            id=_text(answer["id"]),
            name=_text(answer.get("name") or ""),
            status=_text(answer["status"]),
            size_bytes=size if isinstance(size, int) else None,
            digests=_digests(answer),
            all=answer,
        )
    except (KeyError, TypeError) as error:
        raise UnexpectedResponse("The answer is an image without id or status.") from error


def _digests(answer: Mapping[str, Any]) -> dict[str, str]:
    told = {
        answer.get("os_hash_algo"): answer.get("os_hash_value"),
        CHECKSUM: answer.get("checksum"),
    }
    return {
        algorithm: value.lower()
        for algorithm, value in told.items()
        if isinstance(algorithm, str)
        and isinstance(value, str)
        and is_supported_algorithm(algorithm)
    }


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
