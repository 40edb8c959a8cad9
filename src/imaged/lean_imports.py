"""Imports libraries for a service without what they take along for others."""

from __future__ import annotations

import sys
from typing import Any, cast


def import_structlog() -> None:
    """Import structlog without rich, which it would take for tracebacks on a console that are not
    used here: 60 ms and 5 MiB. Commands import rich themselves, later, for their tables.

    Call it before any other module imports structlog.
    """
    modules = cast("dict[str, Any]", sys.modules)
    if "structlog" in modules or "rich" in modules:
        return
    modules["rich"] = None  # importing it fails: structlog then goes on without
    try:
        import structlog  # noqa: F401 - for others
    finally:
        del modules["rich"]
