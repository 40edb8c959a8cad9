"""A table of rules in force: which callers may make which call on which target.

The rules are compiled once, to functions that call each other; a decision then parses nothing and
takes a few microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

from imaged.core.policy_evaluation import Check, Target, compile_expression, outcomes
from imaged.core.policy_expression import Expression, HasRole, IsAdmin, Reference, parts_of
from imaged.core.policy_parser import InvalidExpression, parse_rule
from imaged.core.policy_rules import (
    CONTEXT_IS_ADMIN,
    DEFAULT_RULES,
    UNUSED_PREFIX,
    UNUSED_RULES,
    Rule,
)

if TYPE_CHECKING:  # a caller has its policy
    from imaged.core.access import Caller

CACHED_CALLERS = 4096  # times rules: what each may be permitted
NO_TARGET: Mapping[str, object] = {}


class InvalidRule(ValueError):
    """A rule of a table is invalid. The text is a sentence about it; ``column`` begins with 1."""

    def __init__(self, rule: str, why: str, column: int | None = None) -> None:
        super().__init__(why)
        self.rule = rule
        self.column = column


class Policy:
    """A table of rules.

    ``replaced``: rules that stand in place of the defaults, and further ones that rules refer to.
    Raises InvalidRule.
    """

    def __init__(self, replaced: Mapping[str, str] | None = None) -> None:
        self.replaced = {str(name): text for name, text in (replaced or {}).items()}
        defaults = {str(name): text for name, text in DEFAULT_RULES.items()}
        texts = {**defaults, **self.replaced}
        self._rules = {name: _parsed(name, text) for name, text in texts.items()}
        _require_known(self._rules)
        self._checks: dict[str, Check] = {}
        for name in self._rules:
            self._compile(name, ())
        self._may_permit = lru_cache(CACHED_CALLERS)(self._find_possible)
        #: The roles that rules ask for by name, in small letters.
        self.roles = frozenset(
            part.name.parts[0].lower()
            for rule in self._rules.values()
            for part in parts_of(rule)
            if isinstance(part, HasRole) and not part.name.attributes
        )

    def permits(self, rule: Rule, caller: Caller, target: Target = NO_TARGET) -> bool:
        """Whether the caller may make the call on this target.

        As in Glance, a token that is scoped to a domain or to the system may make none.
        """
        if caller.is_system or caller.domain:
            return False
        return self._checks[rule](caller, target)

    def may_permit(self, rule: Rule, caller: Caller) -> bool:
        """Whether the caller may make the call on some target."""
        return self._may_permit(rule, caller)

    def is_admin(self, caller: Caller) -> bool:
        """Whether the caller is an administrator."""
        return self._checks[CONTEXT_IS_ADMIN](caller, NO_TARGET)

    def is_replaced(self, rule: Rule) -> bool:
        """Whether the rule differs from its default."""
        return self.replaced.get(rule, DEFAULT_RULES[rule]) != DEFAULT_RULES[rule]

    def _find_possible(self, rule: Rule, caller: Caller) -> bool:
        if caller.is_system or caller.domain:
            return False
        return outcomes(self._rules[rule], caller, self._rules).may_hold

    def _compile(self, name: str, outer: tuple[str, ...]) -> Check:
        """The function of a rule. ``outer``: the rules that led to it, which it must not need."""
        check = self._checks.get(name)
        if check is None:
            chain = (*outer, name)
            _require_no_circle(name, self._rules[name], chain)
            check = compile_expression(self._rules[name], lambda other: self._compile(other, chain))
            self._checks[name] = check
        return check


def _parsed(name: str, text: str) -> Expression:
    try:
        return parse_rule(text)
    except InvalidExpression as error:
        raise InvalidRule(name, str(error), error.column) from error


def _require_known(rules: Mapping[str, Expression]) -> None:
    """Refuse references to rules that do not exist, and rules that neither a call asks for nor a
    rule refers to. Raises InvalidRule.
    """
    needed = {CONTEXT_IS_ADMIN}
    for name, rule in rules.items():
        for part in parts_of(rule):
            if isinstance(part, Reference):
                needed.add(part.rule)
                if part.rule not in rules:
                    why = f"there is no rule {part.rule!r}; {_nearest(part.rule, rules)}"
                    raise InvalidRule(name, why, part.column)
    for name in rules:
        is_unused = name in UNUSED_RULES or UNUSED_PREFIX in name
        if name not in DEFAULT_RULES and name not in needed and not is_unused:
            why = f"no call asks for it and no rule refers to it; {_nearest(name, DEFAULT_RULES)}"
            raise InvalidRule(name, why)


def _require_no_circle(name: str, rule: Expression, chain: tuple[str, ...]) -> None:
    for part in parts_of(rule):
        match part:
            case Reference(other, column) if other in chain:
                circle = " → ".join([*chain[chain.index(other) :], other])
                raise InvalidRule(name, f"it refers to itself: {circle}", column)
            case IsAdmin() if CONTEXT_IS_ADMIN in chain:
                why = f"is_admin needs the rule {CONTEXT_IS_ADMIN!r}, which needs this rule"
                raise InvalidRule(name, why)
            case _:
                pass


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, [str(one) for one in known], n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"


DEFAULT_POLICY = Policy()
