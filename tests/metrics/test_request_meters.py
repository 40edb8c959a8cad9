"""Metrics of requests: kinds, statuses and durations; messages are unchanged."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from imaged.metrics.request_meters import RequestMeter, request_kind
from support.service import Service, ask, token_of


def requests(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Return the counts by kind and status class."""
    return {
        (sample.labels["kind"], sample.labels["answer"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "imaged_http_requests_total" and sample.value
    }


@pytest.mark.asyncio
async def test_answers_are_the_same_and_counted(
    service: Service, registry: CollectorRegistry
) -> None:
    """Messages pass through the middleware unchanged. Image data is not timed."""
    service.app = RequestMeter(registry).wrap(service.app)
    image_id = await service.create_active(b"hello")
    data = await service.call("GET", f"/v2/images/{image_id}/file")
    await service.call("GET", f"/v2/images/{image_id}")
    await service.call("GET", "/v2/images/none")
    await service.call("GET", "/v2/images", caller=None)
    await service.call("GET", "/livez")

    assert data.body == b"hello"
    assert requests(registry) == {
        ("read", "2xx"): 1,
        ("read", "4xx"): 2,
        ("write", "2xx"): 1,
        ("data", "2xx"): 2,
    }
    assert registry.get_sample_value("imaged_http_refusals_total", {"code": "401"}) == 1
    assert registry.get_sample_value("imaged_http_refusals_total", {"code": "403"}) == 0
    timed = "imaged_http_request_seconds_count"
    assert registry.get_sample_value(timed, {"kind": "write"}) == 1
    assert registry.get_sample_value(timed, {"kind": "data"}) is None


@pytest.mark.asyncio
async def test_a_request_without_a_response_is_a_failure(registry: CollectorRegistry) -> None:
    """A request without an answer counts as 5xx, and its error propagates."""

    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask(RequestMeter(registry).wrap(broken), "GET", "/v2/images", token_of("bob"), [])

    assert requests(registry) == {("read", "5xx"): 1}


@pytest.mark.parametrize(
    ("kind", "requests"),
    [
        ("read", ["GET /v2/images", "HEAD /v2/images"]),
        ("write", ["POST /v2/images", "PROPFIND /v2/images"]),
        ("data", ["PUT /v2/images/i/file", "GET /v2/images/i/file"]),
    ],
)
def test_kinds(kind: str, requests: list[str]) -> None:
    """There are three kinds, whatever clients send."""
    for request in requests:
        assert request_kind(*request.split()) == kind
