"""The log of a test: configured, caught, and afterwards as it was before."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog


@contextmanager
def log_restored() -> Iterator[None]:
    """Leave the log of the test run as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers = handlers
    root.setLevel(level)


def logged(output: io.StringIO) -> list[dict[str, Any]]:
    """The lines, as the objects that they are."""
    return [json.loads(line) for line in output.getvalue().splitlines()]
