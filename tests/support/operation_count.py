"""How much work a call is, counted in operations: the clock says nothing on a busy machine.

An operation is a line of Python, or an item that the interpreter walks over for it, by a method
(``list.count``, ``str.find`` …) or an operator (``name in names``, ``(*names, name)``): a loop in C
is a loop.
"""

from __future__ import annotations

import dis
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Sized
from functools import cache, partial
from types import CodeType, FrameType
from typing import Any

#: Methods that walk over the whole of what they belong to.
WALKS = frozenset(
    {"copy", "count", "decode", "encode", "extend", "find", "index", "insert", "isascii", "isdigit",
     "join", "lower", "lstrip", "partition", "remove", "replace", "reverse", "rfind", "rindex",
     "rpartition", "rsplit", "rstrip", "sort", "split", "splitlines", "strip", "translate", "upper"}
)  # fmt: skip
SIZED = (list, tuple, str, bytes, bytearray)
#: Operators that walk over the whole of a variable, and what it is then.
WALKING_OPERATORS: Mapping[str, tuple[type, ...]] = {
    "CONTAINS_OP": SIZED,
    **dict.fromkeys(("LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE"), (*SIZED, set, frozenset, dict)),
}

#: Twice the input may be so many times the work: 2 where it is linear, 4 where it is quadratic.
LINEAR_GROWTH_LIMIT = 2.5


def operations(call: Callable[[], object]) -> int:
    """Run it, and return how many operations it took. What it raises is no matter."""
    count = 0

    def traced(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1 + _walked_items(frame)
        return traced

    def profiled(_frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        if event == "c_call":
            owner = getattr(argument, "__self__", None)
            if isinstance(owner, SIZED) and argument.__name__ in WALKS:
                count += len(owner)
            count += 1

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(traced)
    sys.setprofile(profiled)
    try:
        call()
    except Exception:  # noqa: BLE001, S110 - a refusal is an answer like any other
        pass
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


def work_growth(call: Callable[[int], object], sizes: Sequence[int]) -> float:
    """How many times the work grows where the input grows from one size to its double.

    ``sizes`` are n, 2n and 4n. What does not depend on the size falls out.
    """
    operations(partial(call, sizes[0]))  # what is made once, at the first call, is not counted
    small, middle, large = (operations(partial(call, size)) for size in sizes)
    return (large - middle) / max(middle - small, sizes[0] / 2)


def _walked_items(frame: FrameType) -> int:
    """How many items the operators of the line to come walk over."""
    count = 0
    for name, kinds in _walks(frame.f_code).get(frame.f_lineno, ()):
        value = frame.f_locals.get(name)
        if isinstance(value, kinds) and isinstance(value, Sized):
            count += len(value)
    return count


@cache
def _walks(code: CodeType) -> Mapping[int, Sequence[tuple[str, tuple[type, ...]]]]:
    """The variables that are walked over, by line."""
    found: dict[int, list[tuple[str, tuple[type, ...]]]] = defaultdict(list)
    name = ""
    for step in dis.get_instructions(code):
        line = step.positions and step.positions.lineno
        if name and line and (kinds := WALKING_OPERATORS.get(step.opname)):
            found[line].append((name, kinds))
        is_variable = step.opname.startswith(("LOAD_FAST", "LOAD_DEREF"))
        name = step.argval if is_variable else ""
    return found
