"""Metrics of requests: kinds, statuses and durations; messages are unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from imaged.core.quota import Resource
from imaged.core.summary import RequestCounts
from imaged.metrics.operation_meters import CATALOG_BUCKETS, STORE_BUCKETS
from imaged.metrics.request_meters import (
    REQUEST_BUCKETS,
    UPLOAD_BUCKETS,
    RequestMeter,
    request_kind,
)
from support.quotas import refusal
from support.service import Service, ask, token_of


def requests(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Return the counts by kind and status class."""
    return {
        (sample.labels["kind"], sample.labels["answer"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "imaged_http_requests_total" and sample.value
    }


def timed(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Return the number of timed requests by kind and code."""
    return {
        (sample.labels["kind"], sample.labels["code"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "imaged_http_request_duration_seconds_count" and sample.value
    }


def test_refusals_by_limits_are_counted_by_resource(registry: CollectorRegistry) -> None:
    """Each resource has its series from the start; other errors are counted elsewhere."""
    meter = RequestMeter(registry)

    for error in (refusal("images"), refusal("images"), refusal("total"), ValueError()):
        meter.count_error(error)

    counts = {
        resource.value: registry.get_sample_value(
            "imaged_quota_refusals_total", {"resource": resource}
        )
        for resource in Resource
    }
    assert counts == {"total": 1, "staged": 0, "images": 2, "uploads": 0}


@pytest.mark.asyncio
async def test_answers_are_the_same_and_counted(
    service: Service, registry: CollectorRegistry
) -> None:
    """Messages pass through the middleware unchanged. Exact codes tell what was refused."""
    meter = RequestMeter(registry)
    service.app = meter.wrap(service.app)
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
    assert meter.counts == RequestCounts(answered=6, failed=0, refused=1)
    assert timed(registry) == {
        ("read", "200"): 1,
        ("read", "401"): 1,
        ("read", "404"): 1,
        ("write", "201"): 1,
        ("data", "200"): 1,
        ("data", "204"): 1,
    }


@pytest.mark.asyncio
async def test_a_request_without_a_response_is_a_failure(registry: CollectorRegistry) -> None:
    """A request without an answer counts as 5xx, and its error propagates."""

    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ZeroDivisionError

    meter = RequestMeter(registry)
    with pytest.raises(ZeroDivisionError):
        await ask(meter.wrap(broken), "GET", "/v2/images", token_of("bob"), [])

    assert requests(registry) == {("read", "5xx"): 1}
    assert meter.counts == RequestCounts(answered=1, failed=1)
    assert timed(registry) == {("read", "500"): 1}


@pytest.mark.asyncio
async def test_a_download_is_timed_to_its_last_byte(registry: CollectorRegistry) -> None:
    """The header of an answer comes early, the data of an image take minutes."""
    moments = iter([100.0, 400.0])

    async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 206, "headers": []})
        await send({"type": "http.response.body", "body": b"all of it"})

    app = RequestMeter(registry, clock=lambda: next(moments)).wrap(slow)
    await ask(app, "GET", "/v2/images/i/file", token_of("bob"), [])

    labels = {"kind": "data", "code": "206"}
    name = "imaged_http_request_duration_seconds_sum"
    assert registry.get_sample_value(name, labels) == 300


@pytest.mark.parametrize(
    ("buckets", "longest"),
    [(REQUEST_BUCKETS, 7200), (UPLOAD_BUCKETS, 7200), (STORE_BUCKETS, 600), (CATALOG_BUCKETS, 60)],
)
def test_quantiles_are_near_the_truth(buckets: Sequence[float], longest: float) -> None:
    """Where people wait, a quantile is wrong by a factor of 5 at most, elsewhere by 10; and the
    last bound is longer than what is normal, since no quantile exceeds it.
    """
    assert buckets[-1] >= longest
    for lower, upper in pairwise(buckets):
        assert upper / lower <= (5 if upper <= 10 else 10)


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
