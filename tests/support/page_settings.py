"""The files of settings, and of rules, that pages tell to write.

The name of a file stands in the paragraph before its block, or in the first line of the block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

_FILE = re.compile(
    r"(?:`(?P<before>/etc/imaged/\S+\.(?:toml|yaml))`[^`]*?\n\n)? *```(?:toml|yaml)\n"
    r"(?: *# (?P<within>/etc/imaged/\S+\.toml)\n)?(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Settings:
    """A file of settings that a page tells to write."""

    line: int
    path: str
    text: str


def settings(page: Path) -> Iterator[Settings]:
    """The files of a page, in order. A block without a name is an example."""
    text = page.read_text(encoding="utf-8")
    for found in _FILE.finditer(text):
        if path := found["before"] or found["within"]:
            line = text.count("\n", 0, found.start("text")) + 1
            yield Settings(line, path, dedent(found["text"]))
