"""Errors are explained, and their texts are for people."""

from __future__ import annotations

import inspect

import pytest

from imaged.core import errors
from imaged.core.errors import ImagedError

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__.startswith(errors.__name__)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_explained(kind: type[ImagedError]) -> None:
    """Each class says in a sentence what happened, and each error too."""
    assert kind.__doc__
    assert kind.__doc__.rstrip().endswith(".")
    assert kind.sentence == ImagedError.sentence or kind.sentence.endswith((".", "{}"))
