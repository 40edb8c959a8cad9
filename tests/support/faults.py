"""What can go wrong between a node and the ports it uses, one call at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar, cast

import anyio

from imaged.core.errors import CatalogError, CatalogUnavailable, StoreError

P = TypeVar("P")
Call = Callable[..., Awaitable[Any]]


def override_calls(port: P, **calls: Callable[..., object]) -> P:
    """The same port, but for these calls."""
    return cast("P", _OverriddenPort(port, calls))


class _OverriddenPort:
    def __init__(self, port: object, calls: dict[str, Callable[..., object]]) -> None:
        self._port = port
        self._calls = calls

    def __getattr__(self, name: str) -> object:
        return self._calls.get(name) or getattr(self._port, name)


def override_call(changed: Call) -> tuple[object, Any]:
    """The port of a call that was changed by those below; and the same port, but for that."""
    call: Any = changed
    while hasattr(call, "__wrapped__"):
        call = call.__wrapped__
    return call.__self__, override_calls(call.__self__, **{call.__name__: changed})


def nth(call: Call, number: int, *, before: Call | None = None, after: Call | None = None) -> Call:
    """The call; the n-th time something happens before it is carried out, or after."""
    count = 0

    @wraps(call)
    async def counted(*args: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        its_turn = count == number
        if its_turn and before is not None:
            await before(*args)
        result = await call(*args, **named)
        if its_turn and after is not None:
            await after(*args)
        return result

    return counted


def from_nth(call: Call, number: int, instead: Call) -> Call:
    """The call; from the n-th time on, another one instead."""
    count = 0

    @wraps(call)
    async def counted(*args: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        return await (instead if count >= number else call)(*args, **named)

    return counted


def pause(seconds: float) -> Call:
    """Nothing, but slowly."""

    async def wait(*_: object) -> None:
        await anyio.sleep(seconds)

    return wait


async def catalog_fails(*_: object, **__: object) -> NoReturn:
    """The catalog cannot do it, and never will."""
    raise CatalogError("The catalog does not answer.")


def fails_for(call: Call, *items: str) -> Call:
    """The call; the catalog has no answer where its first argument is one of these."""

    @wraps(call)
    async def chosen(item: str, *args: Any, **named: Any) -> Any:
        return await (catalog_fails if item in items else call)(item, *args, **named)

    return chosen


async def catalog_unavailable(*_: object, **__: object) -> NoReturn:
    """No answer comes from the catalog now."""
    raise CatalogUnavailable("The catalog does not answer.")


def away(port: P, begin: float, end: float) -> P:
    """The same catalog; between these moments of virtual time, no call is answered."""
    return cast("P", _OutagePort(port, begin, end))


class _OutagePort:
    def __init__(self, port: object, begin: float, end: float) -> None:
        self._port = port
        self._begin = begin
        self._end = end

    def __getattr__(self, name: str) -> Call:
        call = getattr(self._port, name)

        async def unless_away(*args: Any, **named: Any) -> Any:
            if self._begin <= anyio.current_time() < self._end:
                await catalog_unavailable()
            return await call(*args, **named)

        return unless_away


async def store_fails(*_: object, **__: object) -> NoReturn:
    """The store will not do it."""
    raise StoreError("near", "is down")


async def hangs(*_: object, **__: object) -> NoReturn:
    """No answer comes, ever."""
    await anyio.sleep_forever()
    raise AssertionError
