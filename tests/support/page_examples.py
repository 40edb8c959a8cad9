"""The examples on pages for people: found in the Markdown, and compared with what is shown.

A block of ``console`` has commands after ``$ `` (or ``# ``, for root), each with what it shows. A
comment in the line before a block may say what is not to be seen on the page:

    <!-- tested: PATH -->                           which test types this (page_claims.py)
    <!-- after Ctrl-C in the first terminal -->     what ``make run`` began has ended
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
AFTER_CTRL_C = "after Ctrl-C in the first terminal"

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<mark>.*?) -->\n)?^(?P<indent>[ ]*)```console\n(?P<text>.*?)^[ ]*```$",
    re.DOTALL | re.MULTILINE,
)
#: What is never twice the same, and what counts for it; ``…`` is anything.
_VAGUE: Mapping[str, str] = {
    "…": ".*",
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ": r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ",
    r"\d{4}-\d\d-\d\d \d\d:\d\d [A-Z]+": r"\d{4}-\d\d-\d\d \d\d:\d\d [A-Z]+",
    r"[ ]+": r"\s+",
}


@dataclass(frozen=True)
class Step:
    """One command, and what the page says that it shows; nothing: whatever it shows."""

    command: str
    shown: str

    def is_shown_by(self, output: str) -> bool:
        """Whether output looks as the page says: ``…`` is anything, and so are ids and moments."""
        return re.fullmatch(_pattern(_trimmed(self.shown)), _trimmed(output), re.DOTALL) is not None


@dataclass(frozen=True)
class Block:
    """One block of a page."""

    page: str
    line: int
    mark: str
    steps: tuple[Step, ...]

    @property
    def is_for_root(self) -> bool:
        """Whether it must be typed as root."""
        return any(step.command.startswith("# ") for step in self.steps)


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        indent = len(found["indent"])
        lines = [line[indent:] for line in found["text"].splitlines()]
        yield Block(
            str(page.relative_to(ROOT)),
            text.count("\n", 0, found.start("text")) + 1,
            found["mark"] or "",
            tuple(_steps(lines)),
        )


def _steps(lines: list[str]) -> Iterator[Step]:
    command, shown = "", list[str]()
    for line in lines:
        if command.endswith("\\"):
            command += f"\n{line}"
        elif line.startswith(("$ ", "# ")):
            if command:
                yield Step(command, "\n".join(shown))
            command, shown = line, []
        else:
            shown.append(line)
    if command:
        yield Step(command, "\n".join(shown))


def _trimmed(text: str) -> str:
    """Without invisible spaces at the end of lines."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _pattern(shown: str) -> str:
    pieces = re.split(f"({'|'.join(_VAGUE)})", shown)
    exact, vague = pieces[::2], pieces[1::2]
    loose = [
        next(meant for said, meant in _VAGUE.items() if re.fullmatch(said, piece))
        for piece in vague
    ]
    return "".join(re.escape(text) + more for text, more in zip(exact, [*loose, ""], strict=True))
