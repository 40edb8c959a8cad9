"""Made-up secrets that can be recognised wherever they turn up."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import quote
from uuid import uuid4


class Canaries(defaultdict[str, str]):
    """A secret of each name. Each has a sign that some encoding would change."""

    def __missing__(self, name: str) -> str:
        self[name] = f"canary={name}+{uuid4().hex}"
        return self[name]

    def found_in(self, *texts: str | bytes) -> set[str]:
        """The names of those that are in one of the texts, plain or encoded."""
        everything = "\n".join(
            text if isinstance(text, str) else text.decode("utf-8", "replace") for text in texts
        ).lower()
        return {
            name
            for name, secret in self.items()
            if any(form.lower() in everything for form in _forms(secret))
        }


def _forms(secret: str) -> Iterator[str]:
    yield secret.partition("+")[2]  # the part that no encoding of letters changes
    yield quote(secret, safe="")
    yield base64.b64encode(secret.encode()).decode().rstrip("=")
    yield secret.encode().hex()
