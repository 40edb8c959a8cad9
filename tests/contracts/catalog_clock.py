"""How every catalog treats its own clock, and timestamps from a clock that was ahead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts import catalog_samples as samples
from contracts.catalog_audit import audit
from contracts.catalog_comparison import ids
from imaged.catalogs import dialects
from imaged.core.claim import InstanceId
from imaged.core.clock import ClockMark
from imaged.core.deletion import delete
from imaged.core.image import BrokenUpload
from imaged.core.summary import Instance
from imaged.core.task import cancel, claim_task
from imaged.core.uploading import begin_import
from imaged.ports.catalog import Catalog
from imaged.ports.image_catalog import HeldClaim
from support.sample_images import task

A_YEAR = timedelta(days=365)
CLOCKS_APART = timedelta(minutes=1)  # the catalog's and the test's
MARK = ClockMark(
    at=datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC),
    boot_id="ä",
    uptime=timedelta(days=7, microseconds=1),
)

#: Sets the catalog's clock ahead by this much.
SetAhead = Callable[[timedelta], None]


class ClockContract:
    """It tells its time, keeps its mark, and resets timestamps that it cannot explain."""

    @pytest.fixture
    def set_ahead(self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> SetAhead:
        """Through the one function that asks the database for the time."""
        del catalog
        now = dialects.now

        def set_ahead(by: timedelta) -> None:
            monkeypatch.setattr(dialects, "now", lambda db: now(db) + by)

        return set_ahead

    async def test_the_clock_and_what_was_noted_of_it(self, catalog: Catalog) -> None:
        """The last mark counts; confirmations are counted."""
        first = await catalog.read_clock()
        held = ClockMark(
            at=MARK.at, boot_id="b", uptime=MARK.uptime, step=-A_YEAR, held_until=samples.AN_HOUR
        )
        await catalog.note_clock(MARK)
        noted = await catalog.read_clock()
        await catalog.note_clock(held)
        later = await catalog.read_clock()
        await catalog.confirm_clock(MARK)
        confirmed = await catalog.read_clock()
        await catalog.confirm_clock(MARK)

        assert abs(first.now - datetime.now(UTC)) < CLOCKS_APART
        assert (first.mark, first.confirmations) == (None, 0)
        assert (noted.mark, noted.confirmations) == (MARK, 0)
        assert (later.mark, later.confirmations) == (held, 0)
        assert (confirmed.mark, confirmed.confirmations) == (MARK, 1)
        assert (await catalog.read_clock()).confirmations == 2

    async def test_to_confirm_needs_no_mark(self, catalog: Catalog) -> None:
        """It may be the first mark."""
        await catalog.confirm_clock(MARK)

        assert (await catalog.read_clock()).mark == MARK
        assert (await catalog.read_clock()).confirmations == 1

    async def test_a_lease_that_was_dated_ahead_is_over(
        self, catalog: Catalog, set_ahead: SetAhead
    ) -> None:
        """Of an image and of a task; not if its own length explains it."""
        await samples.add_saving(catalog, "long", samples.new_claim(samples.AN_HOUR))
        set_ahead(A_YEAR)
        image, alone = samples.new_claim(), samples.new_claim()
        await samples.add_saving(catalog, "i", image)
        await catalog.add_task(task("t"))
        await catalog.modify_task("t", lambda task: claim_task(task, alone))
        set_ahead(samples.NO_DELAY)

        found = [HeldClaim(image, "i"), HeldClaim(alone, None, "t")]
        assert list(await catalog.find_lapsed(samples.ALL)) == found
        assert list(await catalog.find_lapsed(1)) == found[:1]
        assert set(await catalog.renew_leases([image, alone])) == {image, alone}
        assert not await catalog.find_lapsed(samples.ALL)

    async def test_what_was_dated_ahead_counts_from_now(
        self, catalog: Catalog, set_ahead: SetAhead
    ) -> None:
        """An image can be restored for its delay, and not for a year plus its delay. The same for
        staged bytes, broken uploads, and the beat of a dead instance.
        """
        set_ahead(A_YEAR)
        await samples.add_active(catalog, "i")
        await catalog.modify_image("i", delete(delayed=True))
        await samples.add_deleted(catalog, "gone")
        await samples.add_staged(catalog, "staged")
        broken = BrokenUpload(10, 5, "0" * 32)
        await catalog.add_image(samples.queued("broken"))
        await catalog.modify_image("broken", lambda image: replace(image, broken_upload=broken))
        await catalog.register_instance(Instance(InstanceId("dead"), "1.0", ()), samples.AN_HOUR)
        set_ahead(samples.NO_DELAY)
        assert not await catalog.find_expirable(samples.NO_DELAY, samples.ALL)
        assert not await catalog.find_broken_uploads(samples.NO_DELAY, samples.ALL)

        assert await catalog.redate(samples.AN_HOUR) == 5
        assert await catalog.redate(samples.AN_HOUR) == 0

        assert ids(await catalog.find_expirable(samples.NO_DELAY, samples.ALL)) == ["i"]
        assert not await catalog.find_expirable(samples.AN_HOUR, samples.ALL)
        assert ids(await catalog.find_staged(samples.NO_DELAY, samples.ALL)) == ["staged"]
        assert ids(await catalog.find_broken_uploads(samples.NO_DELAY, samples.ALL)) == ["broken"]
        assert list(await catalog.purge(samples.NO_DELAY, samples.ALL)) == ["gone"]
        await catalog.register_instance(Instance(InstanceId("lives"), "1.0", ()), samples.NO_DELAY)
        assert [one.id for one in (await catalog.summarize()).instances] == ["lives"]
        await audit(catalog)

    async def test_other_deletions_keep_their_time(self, catalog: Catalog) -> None:
        """However long it still has to wait."""
        await samples.add_active(catalog, "i")
        await catalog.modify_image("i", delete(delayed=True))
        await catalog.add_task(task("t", keep_for=A_YEAR))
        await catalog.modify_task("t", lambda task: cancel(task, "enough"))
        await catalog.add_stray(samples.place("stray"), A_YEAR)
        before = (await catalog.get_image("i"), await catalog.get_task("t"))

        assert await catalog.redate(A_YEAR) == 0

        assert before == (await catalog.get_image("i"), await catalog.get_task("t"))

    async def test_tasks_that_were_dated_ahead(self, catalog: Catalog, set_ahead: SetAhead) -> None:
        """Their records are removed after their time; pending ones wait from now, alone or in an
        image, which says so too.
        """
        set_ahead(A_YEAR)
        for name, keep_for in (("t1", samples.NO_DELAY), ("t2", samples.AN_HOUR)):
            await catalog.add_task(task(name, keep_for=keep_for))
            await catalog.modify_task(name, lambda task: cancel(task, "enough"))
        await catalog.add_task(task("waits"))
        await samples.add_staged(catalog, "i")
        await catalog.modify_image("i", begin_import(task("imports")))
        set_ahead(samples.NO_DELAY)
        assert not await catalog.expire_tasks(samples.ALL)

        assert await catalog.redate(samples.AN_HOUR) == 4

        assert ids(await catalog.expire_tasks(samples.ALL)) == ["t1"]
        kept = await catalog.get_task("t2")
        now = (await catalog.read_clock()).now
        assert now < samples.known(kept.expires_at) < now + samples.AN_HOUR
        waiting = [await catalog.get_task(name) for name in ("waits", "imports")]
        assert all(samples.known(one.updated_at) < now for one in waiting)
        assert (await catalog.get_image("i")).task == waiting[-1]

    async def test_doomed_bytes_that_were_dated_ahead(
        self, catalog: Catalog, set_ahead: SetAhead
    ) -> None:
        """Those whose delete failed are due; a stray starts its quarantine again."""
        set_ahead(A_YEAR)
        await samples.add_expired(catalog, "i")
        await catalog.reschedule("i/1", "no")
        await catalog.add_stray(samples.place("stray"), samples.AN_HOUR)
        set_ahead(samples.NO_DELAY)

        assert await catalog.redate(samples.AN_HOUR) == 3  # with the image that awaits its bytes

        assert await samples.due_keys(catalog) == ["i/1"]
        stray, now = await samples.blob_of(catalog, "stray"), (await catalog.read_clock()).now
        assert now < samples.known(stray.due_at) < now + samples.AN_HOUR
