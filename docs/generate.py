"""Write the generated pages (``make docs``).

One table names the generator of each page. A test runs each generator and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from references import (
    calls,
    clients,
    commands,
    errors,
    formats,
    lifecycle,
    metrics,
    mistakes,
    notifications,
    permissions,
    rules,
    schemas,
    settings,
    statuses,
)

DOCS = Path(__file__).parent

#: Each page of the reference, and its generator.
REFERENCE: Mapping[str, Callable[[], str]] = {
    "reference/api.md": calls.reference,
    "reference/cli.md": commands.reference,
    "reference/clients.md": clients.reference,
    "reference/configuration.md": settings.reference,
    "reference/errors.md": errors.reference,
    "reference/formats.md": formats.reference,
    "reference/metrics.md": metrics.reference,
    "reference/mistakes.md": mistakes.reference,
    "reference/notifications.md": notifications.reference,
    "reference/permissions.md": permissions.reference,
    "reference/rules.md": rules.reference,
    "reference/schemas.md": schemas.reference,
    "reference/statuses.md": statuses.reference,
}


def pages() -> Mapping[str, str]:
    """Every generated file, with its text."""
    reference = {name: make() for name, make in REFERENCE.items()}
    return reference | dict(commands.files()) | {"../README.md": lifecycle.readme()}


def main() -> None:
    """Write the pages that are out of date."""
    for name, text in pages().items():
        page = DOCS / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
