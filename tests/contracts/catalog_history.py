"""What every catalog does with the history of images."""

from __future__ import annotations

import pytest
from structlog.contextvars import bound_contextvars

from contracts import catalog_samples as samples
from imaged.core.deletion import deactivate, delete, delete_after, restore
from imaged.core.errors import ActivationRefused, ImageNotFound, QuotaExceeded
from imaged.core.history import HISTORY_LIMIT, Actor
from imaged.core.task import cancel
from imaged.core.uploading import begin_import, begin_upload, store_data
from imaged.ports.catalog import Catalog
from support.sample_images import attempt_at, draft, task

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
        await catalog.set_limit("a", 5)
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
