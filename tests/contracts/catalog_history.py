"""What every catalog does with the history of images."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import Connection, text
from structlog.contextvars import bound_contextvars

from contracts import catalog_samples as samples
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.deletion import deactivate, delete, delete_after, restore
from imaged.core.errors import ActivationRefused, ImageNotFound, QuotaExceeded
from imaged.core.history import HISTORY_LIMIT, Actor
from imaged.core.task import cancel
from imaged.core.uploading import begin_import, begin_upload, store_data
from imaged.ports.catalog import Catalog
from support.quotas import limit_total
from support.sample_images import attempt_at, draft, task

#: What a disk or an editor can do to a row; PostgreSQL keeps the types of its columns.
DAMAGES = {
    "postgresql": ["details = '[1]'", "details = '1'", "at = '0044-03-15 BC'"],
    "sqlite": [
        "details = '[1]'",
        "details = 'nonsense'",
        "details = x'ff'",
        "at = 'noon'",
        "at = 9e30",
        "at = 9000000000000000000",
        "action = x'ff'",
        "action = CAST(x'ff' AS TEXT)",
        "peer = x'ff'",
    ],
}

ANN = Actor("ann", "web", "203.0.113.7", "req-1")


async def actions_of(catalog: Catalog, image_id: str) -> list[str]:
    """What happened to an image, the oldest first."""
    return [entry.action for entry in (await catalog.get_history(image_id)).entries]


class HistoryContract:
    """A change of an image and its entry are written together, or neither is."""

    async def test_each_change_has_its_entry(self, catalog: Catalog) -> None:
        """With its time, the bound caller and the details; entries of others are not among them."""
        await samples.add_active(catalog, "i")
        await samples.add_active(catalog, "j")
        with bound_contextvars(
            user_id="ann", project_id="web", peer="203.0.113.7", request_id="req-1", image_id="i"
        ):
            image = await catalog.modify_image("i", delete_after(samples.AN_HOUR))
        history = await catalog.get_history("i")

        assert history.image == image
        assert [one.action for one in history.entries] == [
            "created",
            "upload_started",
            "uploaded",
            "deleted",
        ]
        *_, uploaded, deleted = history.entries
        assert (uploaded.actor, uploaded.details["size_bytes"]) == (Actor(), 10)
        assert (deleted.actor, deleted.number, deleted.at) == (ANN, image.version, image.updated_at)
        assert deleted.details.keys() == {"size_bytes", "scrub_due_at"}

    async def test_what_leaves_no_entry(self, catalog: Catalog) -> None:
        """Refused changes, refused consequences, and changes of nothing."""
        await catalog.add_image(samples.queued("i"))
        await limit_total(catalog, "a", 5)
        begin = samples.held_by(samples.new_claim(), begin_upload(samples.place("i/1", 10)))
        with pytest.raises(QuotaExceeded):
            await catalog.modify_image("i", begin)
        with pytest.raises(ActivationRefused):
            await catalog.modify_image("i", deactivate)
        await catalog.modify_image("i", lambda image: image)

        assert await actions_of(catalog, "i") == ["created"]

    async def test_the_last_entries_are_kept(self, catalog: Catalog) -> None:
        """The oldest are dropped, and images that share nothing but the catalog lose none."""
        await catalog.add_image(samples.queued("i"))
        await catalog.add_image(samples.queued("j"))
        for number in range(HISTORY_LIMIT + 2):
            await catalog.modify_image("i", samples.tag(f"{number}"))
        entries = (await catalog.get_history("i")).entries

        assert [one.number for one in entries] == list(range(3, HISTORY_LIMIT + 3))
        assert {one.action for one in entries} == {"changed"}
        assert await actions_of(catalog, "j") == ["created"]

    async def test_a_deleted_image_keeps_its_history(self, catalog: Catalog) -> None:
        """As long as its record; the deletion of its last bytes is the last entry."""
        await samples.add_active(catalog, "i")
        await catalog.modify_image("i", delete(delayed=True))
        await catalog.modify_image("i", restore)
        await samples.add_expired(catalog, "j")
        await catalog.remove_blob("j/1")

        assert (await actions_of(catalog, "i"))[-2:] == ["deleted", "restored"]
        assert (await actions_of(catalog, "j"))[-3:] == ["deleted", "scrub_started", "scrubbed"]
        assert await catalog.purge(samples.NO_DELAY, samples.ALL) == ["j"]
        with pytest.raises(ImageNotFound):
            await catalog.get_history("j")

    async def test_a_draft_begins_its_history_when_it_is_made(self, catalog: Catalog) -> None:
        """Its creation is the success of its task; a failed task leaves no history."""
        for name in ("made", "failed"):
            await catalog.add_image(draft(name, made_by=task(f"t-{name}", type="import")))
        assert await actions_of(catalog, "made") == []
        claim = samples.new_claim()
        attempt = attempt_at(samples.place("made/1"))
        await samples.act(catalog, "made", claim, attempt, store_data(samples.content()))
        await catalog.modify_task("t-failed", lambda task: cancel(task, "Enough."))

        (created,) = (await catalog.get_history("made")).entries
        assert (created.action, created.details["size_bytes"]) == ("created", 10)
        assert await actions_of(catalog, "failed") == []

    async def test_a_task_leaves_its_end_in_the_history(self, catalog: Catalog) -> None:
        """Also if only the task is changed."""
        await catalog.add_image(samples.queued("i"))
        await catalog.modify_image("i", begin_import(task("t1")))
        await catalog.modify_task("t1", lambda task: cancel(task, "Enough."))
        *_, failed = (await catalog.get_history("i")).entries

        assert (failed.action, failed.details["reason"]) == ("import_failed", "Enough.")


class DamagedHistoryContract:
    """Rows of the history that mean nothing any more."""

    async def test_a_damaged_entry_hides_no_other(self, catalog: Catalog) -> None:
        """It is told why it is missing; the image can be changed as before."""
        assert isinstance(catalog, SqlCatalog)
        kinds = await catalog.database.read(lambda db: DAMAGES[db.dialect.name])
        for number, damage in enumerate(kinds):
            await samples.add_active(catalog, f"{number}")
            await catalog.database.write(partial(spoil, image_id=f"{number}", damage=damage))
            await catalog.modify_image(f"{number}", samples.tag("changed"))
            history = await catalog.get_history(f"{number}")

            assert [one.action for one in history.entries] == ["created", "uploaded", "changed"]
            assert len(history.unreadable) == 1, damage

    async def test_a_history_of_damage(self, catalog: Catalog) -> None:
        """Each entry is counted, and so are none of another image."""
        assert isinstance(catalog, SqlCatalog)
        await samples.add_active(catalog, "i")
        await samples.add_active(catalog, "j")
        for number in range(3):
            await catalog.database.write(
                partial(spoil, image_id="i", damage="details = '[1]'", number=number)
            )

        damaged, whole = await catalog.get_history("i"), await catalog.get_history("j")
        assert (list(damaged.entries), len(damaged.unreadable)) == ([], 3)
        assert (len(whole.entries), list(whole.unreadable)) == (3, [])


def spoil(db: Connection, image_id: str, damage: str, number: int = 1) -> None:
    """Change the row of an entry."""
    where = f"WHERE image_id = '{image_id}' AND number = {number}"
    assert db.execute(text(f"UPDATE image_history SET {damage} {where}")).rowcount == 1  # noqa: S608
