"""Accounts that are wrong are found, told and corrected."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from imaged.services.account_reconciler import AccountReconciler
from support.cluster import Cluster
from support.faults import override_calls
from support.node import A, B
from support.quotas import account, usage

pytestmark = pytest.mark.anyio


@pytest.mark.rule("quotas.8")
async def test_only_wrong_accounts_are_corrected_and_told(cluster: Cluster) -> None:
    """An older version beside this one added an image, and did not count it."""
    await cluster.queued(A)
    await cluster.queued(B)
    reconciler = AccountReconciler(cluster.catalog)
    assert await reconciler.run_due() == []
    right = cluster.catalog.accounts["p1"]
    cluster.catalog.accounts["p1"] = replace(right, usage=usage(images=1))

    with capture_logs() as logs:
        (found,) = await reconciler.run(apply=False)
        assert await cluster.catalog.get_account("p1") == account("p1", usage(images=1))
        (corrected,) = await reconciler.run_due()

    assert found == corrected
    assert await cluster.catalog.get_account("p1") == right
    assert await reconciler.run_due() == []
    line = {"event": "account.wrong", "log_level": "warning", "project_id": "p1"}
    facts = {"usage": dict(usage(images=1)), "counted": dict(usage(images=2))}
    assert logs == [{**line, **facts, "corrected": False}, {**line, **facts, "corrected": True}]


async def test_an_account_that_was_corrected_meanwhile_is_not_told(cluster: Cluster) -> None:
    """Another instance was faster."""
    await cluster.queued(A)
    seen = await cluster.catalog.recount_next(None)
    assert seen is not None
    wrong = replace(seen, counted=usage(images=9))

    async def recount_next(after: str | None) -> object:
        return wrong if after is None else None

    late = AccountReconciler(override_calls(cluster.catalog, recount_next=recount_next))
    with capture_logs() as logs:
        assert await late.run_due() == []
    assert logs == []
