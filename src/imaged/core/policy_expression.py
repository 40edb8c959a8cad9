"""The expression of a rule: what ``policy_parser`` returns, and ``policy_evaluation`` decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constant:
    """``@`` or ``!``."""

    value: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A text, with the attributes of the target whose values belong between its parts."""

    parts: tuple[str, ...]
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HasRole:
    """The caller has the role of this name, in small or capital letters."""

    name: Template


@dataclass(frozen=True, slots=True)
class Reference:
    """Another rule holds."""

    rule: str
    column: int


@dataclass(frozen=True, slots=True)
class IsAdmin:
    """The caller is an administrator, or is none: the rule ``context_is_admin`` says who is."""

    expected: bool


@dataclass(frozen=True, slots=True)
class CredentialIs:
    """A credential of the caller equals the text. ``field``: of ``Caller``."""

    field: str
    text: Template


@dataclass(frozen=True, slots=True)
class LiteralIs:
    """A literal equals the text, in which attributes of the target are."""

    literal: str
    text: Template


@dataclass(frozen=True, slots=True)
class Not:
    """The operand does not hold."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class AllOf:
    """All operands hold."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One operand holds, or several do."""

    operands: tuple[Expression, ...]


Expression = (
    Constant | HasRole | Reference | IsAdmin | CredentialIs | LiteralIs | Not | AllOf | AnyOf
)


def parts_of(expression: Expression) -> Iterator[Expression]:
    """The expression, and all expressions inside it."""
    yield expression
    match expression:
        case Not(operand):
            yield from parts_of(operand)
        case AllOf(operands) | AnyOf(operands):
            for operand in operands:
                yield from parts_of(operand)
        case _:
            pass
