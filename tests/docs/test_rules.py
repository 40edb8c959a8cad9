"""Every rule of decision 4 has tests, and every mark names a rule."""

from __future__ import annotations

from references.rules import holders, names


def test_every_rule_has_its_tests() -> None:
    """A test that is removed leaves no rule alone; the page tells what each rule is."""
    rules = {*names()}

    assert len(rules) > 80
    assert holders().keys() == rules
