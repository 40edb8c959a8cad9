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
    """Each class says in a sentence what happened."""
    assert kind.__doc__
    assert kind.__doc__.rstrip().endswith(".")


TEXTS = [
    (errors.ImageNotFound("i"), "There is no image i."),
    (errors.ImageProtected("i"), "protected"),
    (errors.TooMany("tags", 128), "128 tags"),
    (errors.TooManyTasks("p1", 100), "p1 has 100 tasks"),
    (errors.StoreFull("local", "has 3 bytes left"), "The store 'local' has 3 bytes left."),
    (errors.BlobMissing("local", "k"), "The store 'local' has no blob k."),
    (errors.BlobExists("local", "k"), "has a blob k already"),
    (errors.WriteDiscarded("local", "k"), "discarded the unfinished write of k"),
    (errors.UnknownStore("cold"), "'cold'"),
    (errors.InvalidAttribute("name", "is too long"), "The attribute 'name' is too long."),
    (errors.InvalidQuery("limit", "is no number"), "The query parameter 'limit' is no number."),
    (errors.ReadOnlyAttribute("status"), "The attribute 'status' is read-only."),
    (errors.PropertyConflict("os", "is there already"), "The property 'os' is there already."),
    (errors.TagNotFound("t"), "'t'"),
    (errors.ImageExists("i"), "i is taken"),
    (errors.ImageDeleted("i"), "i was deleted"),
    (errors.ClientVanished(), "broke off"),
    (errors.DataForbidden(), "deactivated"),
]


@pytest.mark.parametrize(("error", "text"), TEXTS)
def test_texts_are_sentences_that_name_what_matters(error: ImagedError, text: str) -> None:
    """They name the subject, the fault and the reason."""
    assert text in str(error)
    assert str(error).endswith(".")
