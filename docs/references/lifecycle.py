"""Draws the life of an image in the README from the table of ``core/lifecycle``."""

from __future__ import annotations

from pathlib import Path

from imaged.core.lifecycle import IMAGE_TRANSITIONS

README = Path(__file__).parents[2] / "README.md"
DIAGRAM_BEGIN = "<!-- lifecycle:begin -->\n"
DIAGRAM_END = "<!-- lifecycle:end -->"


def drawing() -> str:
    """The table as a state diagram that hosting sites show as a picture."""
    steps = [
        f"{status} --> {goal}: {event}"
        for status, row in IMAGE_TRANSITIONS.items()
        for event, goal in row.items()
    ]
    ends = [f"{status} --> [*]" for status, row in IMAGE_TRANSITIONS.items() if not row]
    lines = [f"[*] --> {next(iter(IMAGE_TRANSITIONS))}: created", *steps, *ends]
    body = "".join(f"    {line}\n" for line in lines)
    return f"```mermaid\nstateDiagram-v2\n{body}```\n"


def redrawn(text: str) -> str:
    """The text with a fresh drawing between the markers."""
    before, begin, rest = text.partition(DIAGRAM_BEGIN)
    _, end, after = rest.partition(DIAGRAM_END)
    if not begin or not end:
        raise ValueError(f"{DIAGRAM_BEGIN.strip()} and {DIAGRAM_END} must both be there")
    return before + begin + drawing() + end + after


def readme() -> str:
    """The README, drawn anew."""
    return redrawn(README.read_text(encoding="utf-8"))
