"""Every mistake in the settings that the page shows is answered with all that mends it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import imaged
from imaged.config.model import SECTIONS
from references.mistakes import Example, examples

REMEDY = re.compile(
    r"must|write|did you mean '\w+'\?|remove it, or install|add it|name a file|use a-z|[Cc]hoose"
)
#: There is none, or it is a name that is told as the key, or a secret.
WITHOUT_VALUE = re.compile(
    r"does not know|is missing|must be set|is a secret|contains a password|not valid TOML"
    r"|a valid name"
)
SOURCES = Path(imaged.__file__).parent
CHECKS = [*(SOURCES / "config").glob("*.py"), SOURCES / "units.py"]


@pytest.fixture(scope="module")
def shown() -> Sequence[Example]:
    """Run once: a file for each value of each setting."""
    return list(examples())


def line_of_key(text: str, key: str) -> int:
    """The line that sets the key; if it is missing, the header of its table or of an outer one."""
    *table, name = key.split(".")
    head = 0 if table else 1
    outer = {f"[{'.'.join(table[:length])}]" for length in range(1, len(table) + 1)}
    for number, line in enumerate(text.splitlines(), 1):
        if line in outer | {f"[{key}]"}:
            head = number
        elif head and line.startswith(f"{name} = "):
            return number
    return head


def test_each_section_has_its_mistakes(shown: Sequence[Example]) -> None:
    """Of each at least a value that is wrong, and a setting that is unknown."""
    for section in SECTIONS:
        told = [one for one in shown if (one.problem.key or "").startswith(f"{section}.")]
        assert any("does not know this setting" in one.answer for one in told)
        assert any("must" in one.answer and one.problem.value for one in told)


def sentences() -> Iterator[str]:
    """What the checks of settings say, without the values in between: the longest part."""
    for file in CHECKS:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(ast.Name("ValueError" | "WrongSetting"), [*_, said]):
                    parts = said.values if isinstance(said, ast.JoinedStr) else [said]
                    texts = [part.value for part in parts if isinstance(part, ast.Constant)]
                    yield from sorted(map(str, texts), key=len)[-1:]


def test_no_kind_of_mistake_is_left_out(shown: Sequence[Example]) -> None:
    """Each sentence of each check has a row."""
    said = "\n".join(one.problem.what for one in shown)
    known = set(sentences())

    assert len(known) > 20
    assert {one for one in known if one not in said} == set()


def test_each_answer_names_file_line_value_and_remedy(shown: Sequence[Example]) -> None:
    """All four; the value wherever there is one that is no secret."""
    assert len(shown) > 100
    for one in shown:
        answer, problem = one.answer, one.problem
        line = 1 if problem.key is None else line_of_key(one.text, problem.key)
        where = f"imaged.toml:{line}: " + (f"{problem.key}: " if problem.key else "")
        assert answer.startswith(where), answer
        assert REMEDY.search(answer) or "Expected" in answer, answer
        written = one.text.splitlines()[line - 1].partition(" = ")[2].strip('[]"')
        has_value = "; here it is " in answer or (written and written in answer)
        assert has_value or WITHOUT_VALUE.search(answer) or "access_key" in answer, answer
