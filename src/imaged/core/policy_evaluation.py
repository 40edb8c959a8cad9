"""Decides whether an expression holds for a caller and a target.

A credential that the caller's token lacks equals nothing, and so does an attribute that the target
lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from imaged.core.policy_expression import (
    AllOf,
    AnyOf,
    Constant,
    CredentialIs,
    Expression,
    HasRole,
    IsAdmin,
    LiteralIs,
    Not,
    Reference,
    Template,
)

if TYPE_CHECKING:  # a caller has the policy that is evaluated for it
    from imaged.core.access import Caller


class Target(Protocol):
    """What a call is about: its attributes, by the names that rules give them."""

    def __getitem__(self, name: str, /) -> object:
        """The value of the attribute. Raises KeyError if the target lacks it."""
        ...


Check = Callable[["Caller", Target], bool]


def compile_expression(expression: Expression, rule: Callable[[str], Check]) -> Check:  # noqa: PLR0911 - one for each kind
    """A function that decides the expression. ``rule`` returns that of another rule."""
    match expression:
        case Constant(value):
            return lambda caller, target: value  # noqa: ARG005 - it depends on neither
        case Reference(name):
            return rule(name)
        case IsAdmin(expected):
            return lambda caller, target: caller.is_admin is expected  # noqa: ARG005
        case HasRole(name):
            return _has_role(name)
        case CredentialIs(field, text):
            return _credential_is(field, text)
        case LiteralIs(literal, text):
            told = _filled(text)
            return lambda caller, target: told(target) == literal  # noqa: ARG005
        case Not(operand):
            check = compile_expression(operand, rule)
            return lambda caller, target: not check(caller, target)
        case AllOf(operands):
            return _all_of([compile_expression(operand, rule) for operand in operands])
        case AnyOf(operands):
            return _any_of([compile_expression(operand, rule) for operand in operands])


class Outcomes(NamedTuple):
    """What an expression may come to for one caller, depending on the target."""

    may_hold: bool
    may_fail: bool


def outcomes(expression: Expression, caller: Caller, rules: Mapping[str, Expression]) -> Outcomes:
    """What the expression may come to if nothing is known about the target.

    Operands are taken as independent of each other, so ``may_hold`` may be true without such a
    target; it is never false if there is one.
    """
    match expression:
        case Reference(name):
            return outcomes(rules[name], caller, rules)
        case Not(operand):
            may_hold, may_fail = outcomes(operand, caller, rules)
            return Outcomes(may_hold=may_fail, may_fail=may_hold)
        case AllOf(operands) | AnyOf(operands):
            found = [outcomes(operand, caller, rules) for operand in operands]
            hold, fail = [one.may_hold for one in found], [one.may_fail for one in found]
            is_all = isinstance(expression, AllOf)
            return Outcomes(all(hold), any(fail)) if is_all else Outcomes(any(hold), all(fail))
        case HasRole(text) | LiteralIs(_, text) if text.attributes:
            return Outcomes(may_hold=True, may_fail=True)
        case CredentialIs(field, text) if text.attributes:
            return Outcomes(may_hold=bool(getattr(caller, field)), may_fail=True)
        case _:
            holds = compile_expression(expression, _no_rule)(caller, {})
            return Outcomes(may_hold=holds, may_fail=not holds)


def _no_rule(name: str) -> Check:
    raise KeyError(name)


def _has_role(name: Template) -> Check:
    if not name.attributes:
        fixed = name.parts[0].lower()
        return lambda caller, target: fixed in caller.roles  # noqa: ARG005
    told = _filled(name)

    def check(caller: Caller, target: Target) -> bool:
        role = told(target)
        return role is not None and role.lower() in caller.roles

    return check


def _credential_is(field: str, text: Template) -> Check:
    read: Callable[[Caller], str] = attrgetter(field)
    told = _filled(text)

    def check(caller: Caller, target: Target) -> bool:
        own = read(caller)
        return own != "" and own == told(target)

    return check


def _all_of(checks: list[Check]) -> Check:
    def check(caller: Caller, target: Target) -> bool:
        for one in checks:  # noqa: SIM110 - all() takes twice as long
            if not one(caller, target):
                return False
        return True

    return check


def _any_of(checks: list[Check]) -> Check:
    def check(caller: Caller, target: Target) -> bool:
        for one in checks:  # noqa: SIM110 - any() takes twice as long
            if one(caller, target):
                return True
        return False

    return check


def _filled(template: Template) -> Callable[[Target], str | None]:
    """A function that returns the text for a target; None if the target lacks an attribute."""
    first, *others = template.parts
    if len(template.attributes) == 1 and not any(template.parts):
        return _value(template.attributes[0])

    def fill(target: Target) -> str | None:
        text = first
        try:
            for name, part in zip(template.attributes, others, strict=True):
                text += f"{target[name]}{part}"
        except KeyError:
            return None
        return text

    return fill


def _value(name: str) -> Callable[[Target], str | None]:
    """The same for one attribute and no text around it, which most rules have."""

    def value(target: Target) -> str | None:
        try:
            found = target[name]
        except KeyError:
            return None
        return found if type(found) is str else str(found)

    return value
