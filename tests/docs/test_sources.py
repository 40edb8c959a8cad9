"""Rules of the tree of sources that no linter knows."""

from __future__ import annotations

from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src/imaged"
MOST_LINES = 300  # of a module: what is longer has two subjects


def test_no_module_is_too_long() -> None:
    """Each can be read in one go."""
    lines = {
        str(path.relative_to(SOURCES)): path.read_text("utf-8").count("\n")
        for path in SOURCES.rglob("*.py")
    }

    assert len(lines) > 100
    assert not {path: count for path, count in lines.items() if count > MOST_LINES}
