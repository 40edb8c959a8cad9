"""Names that stand for one address when they are looked at, and for another when it counts."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult


class RebindingResolver(AbstractResolver):
    """Names that are public when they are looked at, and something else when it counts."""

    def __init__(self, answers: Sequence[str | Sequence[str]]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - of the interface
    ) -> list[ResolveResult]:
        """The next of the answers."""
        self.asked.append(host)
        answer = self._answers.pop(0)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in ([answer] if isinstance(answer, str) else answer)
        ]

    async def close(self) -> None:
        """Nothing to close."""
