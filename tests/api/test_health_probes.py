"""Probes: what they say, how often they look, and what the log says of changes."""

from __future__ import annotations

from uuid import UUID

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.place_marker import Place, PlaceKind
from support.faults import catalog_fails, hangs, nth, override_calls, store_fails
from support.service import Service

pytestmark = pytest.mark.asyncio

PATHS = ["/readyz", "/healthcheck"]


@pytest.mark.parametrize("path", [*PATHS, "/livez"])
async def test_all_is_well(service: Service, path: str) -> None:
    """It needs no authentication."""
    reply = await service.call("GET", path, caller=None)
    assert (reply.status, reply.text) == (200, "OK")
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
async def test_draining_is_not_ready(service: Service, path: str) -> None:
    """A stopping daemon is not ready, but alive."""
    assert (await service.call("GET", path)).status == 200
    service.health.draining = True
    reply = await service.call("GET", path)
    assert (reply.status, reply.text) == (503, "not ready: draining")
    assert (await service.call("GET", "/livez")).status == 200


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda it: Service(store=override_calls(it.bytes, check=store_fails)), "store local"),
        (lambda it: Service(catalog=override_calls(it.facts, check=catalog_fails)), "catalog"),
    ],
)
async def test_failing_parts_are_named(service: Service, make: object, name: str) -> None:
    """The probe learns which part it is; why is for the log, which has the outage already."""
    assert callable(make)
    broken: Service = make(service)
    with capture_logs() as lines:
        reply = await broken.call("GET", "/readyz")
    assert (reply.status, reply.text) == (503, f"not ready: {name}")
    (line,) = [line for line in lines if line["event"] == "health.degraded"]
    assert (line["part"], line["log_level"]) == (name, "debug")


async def test_all_that_does_not_work_is_named(service: Service) -> None:
    """In the same order each time, whichever of it fails first."""

    async def fails_late(*_: object) -> None:
        await anyio.sleep(0.01)
        await catalog_fails()

    broken = Service(
        store=override_calls(service.bytes, check=store_fails),
        catalog=override_calls(service.facts, check=fails_late),
    )

    reply = await broken.call("GET", "/readyz")

    assert (reply.status, reply.text) == (503, "not ready: catalog, store local")


async def test_warnings_for_operators_are_listed(service: Service) -> None:
    """A line each; it keeps the service from nothing."""
    place = Place(PlaceKind.STORE, "local", UUID(int=1), "/srv", warning="It lost half its blobs.")
    await service.facts.add_place(place)

    reply = await service.call("GET", "/readyz")

    told = "OK\nwarning: store local: It lost half its blobs."
    assert (reply.status, reply.text) == (200, told)


async def test_part_that_hangs_is_not_waited_for(service: Service) -> None:
    """A probe always gets its answer; the log is told, because nothing else notices."""
    broken = Service(
        store=override_calls(service.bytes, check=nth(service.bytes.check, 1, before=hangs))
    )
    broken.health.check_timeout_seconds, broken.health.cache_seconds = 0.01, 0
    with capture_logs() as lines:
        assert await broken.health.troubles() == ("store local",)
        assert await broken.health.troubles() == ()
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("health.degraded", "warning"),
        ("health.recovered", "info"),
    ]


async def test_one_probe_serves_many_requests(service: Service) -> None:
    """Probes from all sides do not load the disk."""
    looks = 0

    async def count(*_: object) -> None:
        nonlocal looks
        looks += 1

    watched = Service(store=override_calls(service.bytes, check=count))
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(watched.health.troubles)
    assert looks == 1


async def test_changes_are_logged_once(service: Service) -> None:
    """An outage is one line when it begins and one when it ends, beside those of the outage."""
    fails_twice = nth(nth(service.bytes.check, 1, before=store_fails), 2, before=store_fails)
    watched = Service(store=override_calls(service.bytes, check=fails_twice))
    watched.health.cache_seconds = 0
    with capture_logs() as lines:
        answers = [await watched.health.troubles() for _ in range(4)]
    assert answers == [("store local",), ("store local",), (), ()]
    assert [line["event"] for line in lines] == ["health.degraded", "health.recovered"]
    assert {line["log_level"] for line in lines} == {"debug"}


@pytest.mark.parametrize("path", PATHS)
async def test_optional_parts_are_named(service: Service, path: str) -> None:
    """A destination of exports that hangs: load balancers need not mind, and operators read it."""
    service.health.degraded_parts = lambda: ("exports.archive", "scratch")

    reply = await service.call("GET", path)

    assert (reply.status, reply.text) == (200, "OK, without exports.archive, scratch")
