"""Write the pages that are made from the code: ``make docs`` does.

One table says which page is made by what. A test makes each of them and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from imaged.cli import manual
from imaged.config import reference as settings
from imaged.metrics import reference as metrics
from references import calls, errors, formats, schemas, statuses

DOCS = Path(__file__).parent

#: Each page of the reference, and what makes it.
REFERENCE: Mapping[str, Callable[[], str]] = {
    "reference/api.md": calls.reference,
    "reference/cli.md": manual.reference,
    "reference/configuration.md": settings.reference,
    "reference/errors.md": errors.reference,
    "reference/formats.md": formats.reference,
    "reference/metrics.md": metrics.reference,
    "reference/schemas.md": schemas.reference,
    "reference/statuses.md": statuses.reference,
}


def pages() -> Mapping[str, str]:
    """Every file below ``docs`` that is made from the code, and what is in it."""
    return {name: make() for name, make in REFERENCE.items()} | dict(manual.files())


def main() -> None:
    """Write those that are not as they should be."""
    for name, text in pages().items():
        page = DOCS / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
