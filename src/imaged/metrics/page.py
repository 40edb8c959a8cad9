"""The page that Prometheus reads: every family, in the format that is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from imaged.metrics.figures import Figures, families
from imaged.metrics.relay import WHEN_BEGUN, Relay


class Page(NamedTuple):
    """What is answered."""

    body: bytes
    media_type: str


class Pages:
    """Writes the page. The figures are looked at first; all else is in the registry, and some of it
    in the relay too.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        look: Callable[[], Awaitable[Figures]],
        relay: Relay | None = None,
    ) -> None:
        self._registry = registry
        self._look = look
        self._relay = relay or Relay()

    async def write(self, accept: str = "") -> Page:
        """The page, for the Accept header of a request. Never raises: what is not known is left
        out.
        """
        encode, media_type = choose_encoder(accept)
        figures = await self._look()
        return Page(encode(_Families(self._registry, self._relay, figures)), media_type)


class _Families:
    """All of them, once. When a counter began is not told: that is in imaged_start_time_seconds."""

    def __init__(self, registry: CollectorRegistry, relay: Relay, figures: Figures) -> None:
        self._registry = registry
        self._relay = relay
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for family in self._relay.add_to(self._registry.collect()):
            kept = [sample for sample in family.samples if not sample.name.endswith(WHEN_BEGUN)]
            family.samples = kept
            yield family
        yield from families(self._figures)
