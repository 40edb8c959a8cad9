"""The program that keeps a client loaded: run by the Python of the client's environment.

``client_loop.py ORDERS``: a number of a file descriptor, from which it reads one order a line, as
JSON. Each is answered by one line on standard output. Two kinds:

- ``{"command": "module:function", "arguments": […], "environment": {…}}`` calls the function that
  a client's script calls, as that does; the answer has its exit code and what it wrote;
- ``{"expression": "…", "variables": {…}}`` evaluates Python; the answer has the value, or an error.
  ``{"statements": "…"}`` runs some first; their names stay.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import traceback
import types
from collections.abc import Mapping
from typing import Any

BEFORE = dict(os.environ)


def main(orders: int) -> None:
    """Answer until there are no more orders."""
    answers = sys.stdout
    names: dict[str, Any] = {}
    with os.fdopen(orders) as lines:
        for line in lines:
            order = json.loads(line)
            written = {"output": _stream(), "errors": _stream()}
            with (
                contextlib.redirect_stdout(written["output"]),
                contextlib.redirect_stderr(written["errors"]),
            ):
                answer = call(order) if "command" in order else evaluate(order, names)
            for name, stream in written.items():
                stream.seek(0)
                answer[name] = stream.read()
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def call(order: Mapping[str, Any]) -> dict[str, Any]:
    """Call what a script calls, as that does."""
    module, _, function = order["command"].partition(":")
    os.environ.clear()
    os.environ.update(BEFORE | order["environment"])
    sys.argv = [module.partition(".")[0], *order["arguments"]]
    try:
        code = getattr(importlib.import_module(module), function)()
    except SystemExit as end:
        code = end.code
    return {"code": code if isinstance(code, int) else int(code is not None)}


def evaluate(order: Mapping[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """The value of an expression, in words of JSON."""
    try:
        exec(order.get("statements", ""), names)  # noqa: S102 - the test wrote it
        value = eval(order.get("expression", "None"), names, order.get("variables"))  # noqa: S307
        return {"value": plain(value)}
    except Exception as error:  # noqa: BLE001 - told to the test
        return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def plain(value: Any) -> Any:
    """What a client returned, in words of JSON. Before that, openstacksdk's are dicts of a kind."""
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | types.GeneratorType):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str | int | float | None):
        return value
    return {name: plain(one) for name, one in vars(value).items() if _is_plain(one)}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | list | dict | None)


def _stream() -> io.TextIOWrapper:
    """Standard output as a client knows it: some write bytes to its ``buffer``."""
    return io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
