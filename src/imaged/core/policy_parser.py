"""The language of rules: ``role:member and project_id:%(owner)s``, as oslo.policy reads it.

    expression  =  any of  expression and expression, expression or expression, not expression,
                   (expression), check
    check       =  @ (always) | ! (never) | role:TEXT | rule:NAME | is_admin:True | is_admin:False
                   CREDENTIAL:TEXT | LITERAL:TEXT
    TEXT        =  characters without blanks; %(attribute)s stands for an attribute of the target
    LITERAL     =  'text' | "text" | True | False | None | a whole number

``not`` binds closer than ``and``, and that closer than ``or``. The three words may be capitals.
Parentheses stand before or after a check or another parenthesis; all else is separated by blanks.
The empty rule is ``@``.

oslo.policy logs what it cannot parse, and refuses the call; here it is an error with its column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

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

#: What a token says of its owner, by the name that a rule gives it, with the field of ``Caller``.
CREDENTIALS: Mapping[str, str] = {
    "user_id": "user",
    "user_domain_id": "user_domain",
    "project_id": "project",
    "project_domain_id": "project_domain",
    "domain_id": "domain",
    "system_scope": "system_scope",
}

_TOKEN = re.compile(r"\S+")
_WORDS = frozenset({"and", "or", "not"})
_PLACEHOLDER = re.compile(r"%\(([^()%]+)\)s")
_LITERAL = re.compile(r"""'([^']*)'|"([^"]*)"|(True|False|None|0|[1-9][0-9]*)""")
_FORMER = {"tenant": "project_id", "tenant_id": "project_id", "user": "user_id"}
_REMOTE = frozenset({"http", "https"})
_ENDS = frozenset({"and", "or", ")"})
_GLUED = re.compile(r"(and|or|not)\(", re.IGNORECASE)
_DEEPEST = 50  # parentheses and "not" inside each other


class InvalidExpression(ValueError):
    """A rule cannot be parsed. The text is a sentence about it; columns begin with 1."""

    def __init__(self, column: int, why: str) -> None:
        super().__init__(why)
        self.column = column


def parse_rule(text: str) -> Expression:
    """Parse one rule. Raises InvalidExpression."""
    if not text:
        return Constant(value=True)
    if not text.strip():
        raise InvalidExpression(1, "it consists of blanks: write @ to permit the call to all")
    return _Parser(text).parsed()


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    column: int

    @property
    def word(self) -> str:
        """The operator that it is, in small letters, or the text."""
        lowered = self.text.lower()
        return lowered if lowered in _WORDS else self.text


class _Parser:
    """A recursive descent through the tokens of one rule."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._place = 0
        self._depth = 0
        self._end = _Token("", len(text) + 1)

    def parsed(self) -> Expression:
        expression = self._any_of()
        rest = self._next
        if rest.word == ")":
            raise InvalidExpression(rest.column, "this parenthesis closes none")
        if rest is not self._end:
            raise InvalidExpression(rest.column, f"'and' or 'or' is missing before {rest.text!r}")
        return expression

    @property
    def _next(self) -> _Token:
        is_left = self._place < len(self._tokens)
        return self._tokens[self._place] if is_left else self._end

    def _take(self, word: str) -> bool:
        """Whether the next token is this word; then it is consumed."""
        if self._next.word != word:
            return False
        self._place += 1
        return True

    def _any_of(self) -> Expression:
        operands = [self._all_of()]
        while self._take("or"):
            operands.append(self._all_of())
        return operands[0] if len(operands) == 1 else AnyOf(tuple(operands))

    def _all_of(self) -> Expression:
        operands = [self._operand()]
        while self._take("and"):
            operands.append(self._operand())
        return operands[0] if len(operands) == 1 else AllOf(tuple(operands))

    def _operand(self) -> Expression:
        token = self._next
        if token is self._end or token.word in _ENDS:
            shown = "the end" if token is self._end else repr(token.text)
            raise InvalidExpression(token.column, f"a check is missing before {shown}")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InvalidExpression(token.column, f"it is nested more than {_DEEPEST} times")
        self._place += 1
        if token.word == "not":
            operand: Expression = Not(self._operand())
        elif token.word == "(":
            operand = self._parenthesised(token)
        else:
            operand = _check(token)
        self._depth -= 1
        return operand

    def _parenthesised(self, opening: _Token) -> Expression:
        inner = self._any_of()
        if self._take(")"):
            return inner
        rest = self._next
        if rest is self._end:
            raise InvalidExpression(opening.column, "this parenthesis is not closed")
        raise InvalidExpression(rest.column, f"'and' or 'or' is missing before {rest.text!r}")


def _tokens(text: str) -> list[_Token]:
    tokens = []
    for match in _TOKEN.finditer(text):
        column, word = match.start() + 1, match.group()
        inner = word.lstrip("(")
        tokens += [_Token("(", column + place) for place in range(len(word) - len(inner))]
        column += len(word) - len(inner)
        core = inner.rstrip(")")
        if core:
            tokens.append(_Token(core, column))
        tokens += [_Token(")", column + place) for place in range(len(core), len(inner))]
    return tokens


def _check(token: _Token) -> Expression:
    if token.text in {"@", "!"}:
        return Constant(value=token.text == "@")
    literal = _LITERAL.match(token.text)
    kind = literal.group() if literal else token.text.partition(":")[0]
    if not token.text.startswith(":", len(kind)) or _GLUED.match(kind):
        raise _no_check(token)
    text = _Token(token.text[len(kind) + 1 :], token.column + len(kind) + 1)
    if not text.text or text.text[-1] in "'\"":
        raise InvalidExpression(text.column, f"a text without quotes must follow {kind}:")
    if literal:
        return LiteralIs(literal.group(literal.lastindex or 0), _template(text))
    match kind:
        case "role":
            return HasRole(_template(text))
        case "rule":
            return Reference(text.text, text.column)
        case "is_admin" if text.text in {"True", "False"}:
            return IsAdmin(text.text == "True")
        case "is_admin":
            raise InvalidExpression(text.column, "is_admin can be compared with True and False")
        case _ if kind in CREDENTIALS:
            return CredentialIs(CREDENTIALS[kind], _template(text))
    raise _unknown_credential(token, kind)


def _template(token: _Token) -> Template:
    parts, attributes, place = [], [], 0
    for match in _PLACEHOLDER.finditer(token.text):
        parts.append(token.text[place : match.start()])
        attributes.append(match.group(1))
        place = match.end()
    parts.append(token.text[place:])
    stray = _PLACEHOLDER.sub(lambda match: " " * len(match.group()), token.text).find("%")
    if stray >= 0:
        column = token.column + stray
        raise InvalidExpression(column, "'%' must begin an attribute, as in %(owner)s")
    return Template(tuple(parts), tuple(attributes))


def _no_check(token: _Token) -> InvalidExpression:
    glued = _GLUED.match(token.text)
    if glued is not None:
        column = token.column + len(glued[1])
        return InvalidExpression(column, f"a blank is missing between '{glued[1]}' and '('")
    if token.text[0] in "'\"":
        return InvalidExpression(token.column, "a literal has no blanks, and a colon follows it")
    return InvalidExpression(
        token.column, f"{token.text!r} is no check; checks are like role:member, @ and !"
    )


def _unknown_credential(token: _Token, kind: str) -> InvalidExpression:
    if kind in _REMOTE:
        return InvalidExpression(token.column, "checks that ask another service are not supported")
    known = [*CREDENTIALS, "role", "rule", "is_admin"]
    near = [_FORMER[kind]] if kind in _FORMER else get_close_matches(kind, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return InvalidExpression(token.column, f"{kind!r} is no credential of a token; {hint}")
