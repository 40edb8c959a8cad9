"""Reads the counts of the services of a process, for its metrics."""

from __future__ import annotations

from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import Drivers
from imaged.metrics.counters import Counters
from imaged.server.connections import CloseReason
from imaged.server.server import HttpServer


def read_counters(
    drivers: Drivers, services: ServiceContainer, server: HttpServer | None = None
) -> Counters:
    """Return the current counts of a process. ``server``: the API's, if it has one."""
    budget, database = services.budget, drivers.database
    ended = dict.fromkeys(map(str, CloseReason), 0)
    connections = () if server is None else server.connections
    return Counters(
        traffic=services.traffic,
        budget_bytes=budget.total_bytes,
        budget_used_bytes=max(0, budget.total_bytes - budget.free_bytes),
        connections=len(connections),
        connections_ended=ended if server is None else ended | server.connections.ended,
        claims_held=services.claims.held,
        claims_taken_back=services.reclaimer.taken_back,
        scrubbed=services.scrubber.totals,
        reconciled=services.reconcile.last,
        transactions=database.busy,
        connections_limit=database.connections_limit,
        second_tries=database.second_tries,
        log_bytes=database.log_bytes,
        events_dropped=services.delivery.dropped + services.sent_downloads.lost,
        items_failed={one.duty: one.failures for one in services.postponed},
        items_put_off={one.duty: len(one) for one in services.postponed},
    )
