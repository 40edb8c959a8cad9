"""Imports libraries for a service without what they take along for others."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import in this block what a service needs for good.

    The collector of cycles finds nothing in modules, classes and functions: it is off meanwhile
    (a twenty-fifth of the time), and afterwards never looks at them again, which would stop the
    event loop for tens of milliseconds at each full collection. Pydantic looks for no plugins, for
    which it would read the metadata of each installed package.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        import_structlog()
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


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
