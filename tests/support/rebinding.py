"""Names that stand for one address when they are looked at, and for another when it counts."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult


class Rebinding(AbstractResolver):
    """Names that are public when they are looked at, and something else when it counts."""

    def __init__(self, answers: list[str]) -> None:
        self._answers = answers

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - of the interface
    ) -> list[ResolveResult]:
        """The next of the answers."""
        address = self._answers.pop(0)
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        flags = socket.AI_NUMERICHOST
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=flags)
        ]

    async def close(self) -> None:
        """Nothing to close."""
