"""Sanitizes texts of other servers for messages, the database and a line of the log."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 100  # characters
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_UNFIT = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode's categories


def printable(text: str, longest: int = MAX_CHARACTERS) -> str:
    """The text in one line of printable characters, cut to ``longest`` of them.

    The HTTP parser returns bytes that are not UTF-8 as surrogates, which cannot be stored.
    """
    kept = "".join(
        REPLACEMENT if unicodedata.category(character) in _UNFIT else character
        for character in text[: longest + 1]
    ).strip()
    return kept if len(text) <= longest else f"{kept[:longest]}…"
