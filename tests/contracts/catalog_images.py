"""What every catalog does with the records of images."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import catalog_samples as samples
from imaged.core.deletion import deactivate, delete, restore
from imaged.core.disk_format import DISK_FORMATS
from imaged.core.errors import ClaimLost, ImageExists, ImageNotFound, InvalidTransition
from imaged.core.growth import reserve
from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import Status
from imaged.core.query import ImageQuery
from imaged.core.task import TaskStatus
from imaged.core.uploading import (
    begin_import,
    begin_staging,
    begin_upload,
    give_back,
    share_data,
    stage_data,
    store_data,
)
from imaged.ports.catalog import Catalog
from support.quotas import used_bytes
from support.sample_images import attempt_at, task

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NUMBERS = st.integers(0, 2**31 - 1)

WRITTEN_BY_OWNERS = st.fixed_dictionaries(
    {
        "owner": TEXTS,
        "name": st.none() | TEXTS,
        "disk_format": st.none() | st.sampled_from(DISK_FORMATS),
        "container_format": st.none() | TEXTS,
        "visibility": st.sampled_from(Visibility),
        "protected": st.booleans(),
        "hidden": st.booleans(),
        "min_ram_mib": NUMBERS,
        "min_disk_gib": NUMBERS,
        "tags": st.lists(TEXTS, unique=True, max_size=5).map(tuple),
        "properties": st.dictionaries(TEXTS, TEXTS, max_size=5),
    }
)

every_example = settings(max_examples=60, deadline=None, suppress_health_check=samples.UNCHECKED)


class ImagesContract:
    """Records are kept as given, and only ``modify_image`` changes them."""

    async def test_a_missing_image(self, catalog: Catalog) -> None:
        """It can neither be read nor changed."""
        with pytest.raises(ImageNotFound):
            await catalog.get_image("none")
        with pytest.raises(ImageNotFound):
            await catalog.modify_image("none", restore)

    async def test_a_new_image_is_dated(self, catalog: Catalog) -> None:
        """All three timestamps of a new image are that of its creation."""
        added = await catalog.add_image(samples.queued("i"))

        assert added == await catalog.get_image("i")
        assert added.created_at is not None
        assert added.created_at == added.updated_at == added.since
        assert added.created_at.utcoffset() == timedelta(0)
        assert added == replace(
            samples.queued("i"),
            created_at=added.created_at,
            updated_at=added.created_at,
            since=added.created_at,
        )

    async def test_an_id_is_taken_once(self, catalog: Catalog) -> None:
        """The second image of an id is refused, and the first is unchanged."""
        first = await catalog.add_image(
            replace(samples.queued("i"), tags=("x",), properties={"k": "v"})
        )

        with pytest.raises(ImageExists):
            await catalog.add_image(replace(samples.queued("i", "b"), tags=("y",)))

        assert await samples.all_images(catalog) == [first]
        assert not await samples.list_images(catalog, ImageQuery(tags=("y",)))

    @every_example
    @given(first=WRITTEN_BY_OWNERS, then=WRITTEN_BY_OWNERS)
    async def test_written_attributes_are_read_back(
        self, catalog: Catalog, first: dict[str, object], then: dict[str, object]
    ) -> None:
        """Every attribute is kept as given, when it is created and when it is changed."""
        image_id = str(uuid4())
        added = await catalog.add_image(Image(id=image_id, **first))  # type: ignore[arg-type]
        assert await catalog.get_image(image_id) == added
        assert added == replace(added, **first)  # type: ignore[arg-type]

        changed = await catalog.modify_image(
            image_id,
            lambda image: replace(image, **then),  # type: ignore[arg-type]
        )
        assert await catalog.get_image(image_id) == changed
        assert changed == replace(changed, **then)  # type: ignore[arg-type]

    async def test_the_longest_values_come_back(self, catalog: Catalog) -> None:
        """The limits of the API are far below those of a catalog."""
        properties = {"n" * 255: "é" * 65_535, "m" * 255: "é" * 65_534 + "e"}
        image = await catalog.add_image(replace(samples.queued("i"), properties=properties))

        assert (await catalog.get_image("i")).properties == properties
        for prop in properties.items():
            assert await samples.list_images(catalog, ImageQuery(properties=(prop,))) == [image]
        short = ("n" * 255, "é" * 65_534)
        assert not await samples.list_images(catalog, ImageQuery(properties=(short,)))

    async def test_an_upload_comes_back(self, catalog: Catalog) -> None:
        """Claim, location, content, mark and failure are kept at each step."""
        claim, size = samples.new_claim(timedelta(microseconds=1), "nöde"), 2**60

        saving = await samples.add_saving(catalog, "i", claim, size)
        assert saving == await catalog.get_image("i")
        assert (saving.claim, saving.locations) == (claim, (samples.place("i/1", size),))

        given_back = await catalog.modify_image("i", give_back(claim, "no luck", final=True))
        assert given_back == await catalog.get_image("i")
        assert (given_back.claim, given_back.locations) == (None, ())
        failure = samples.known(given_back.last_failure)
        assert (failure.reason, failure.at) == ("no luck", given_back.updated_at)

        claim = samples.new_claim()
        written = begin_upload(samples.place("i/2")), store_data(samples.content(size))
        active = await samples.act(catalog, "i", claim, *written)
        assert active == await catalog.get_image("i")
        assert active.content == samples.content(size)
        assert active.finished_by == claim.token
        assert active.locations == (samples.place("i/2", size),)
        assert active.last_failure is None

    async def test_data_without_a_checksum(self, catalog: Catalog) -> None:
        """It comes back as None, uploaded or staged."""
        bare = replace(samples.content(), checksum=None)
        claim = samples.new_claim()
        await catalog.add_image(samples.queued("i"))
        begun = begin_upload(samples.place("i/1"))
        active = await samples.act(catalog, "i", claim, begun, store_data(bare))
        assert samples.known(active.content).checksum is None
        assert await catalog.get_image("i") == active
        assert await samples.all_images(catalog) == [active]

        await catalog.add_image(samples.queued("j"))
        begun = begin_staging(samples.place("j/1"))
        staged = await samples.act(catalog, "j", samples.new_claim(), begun, stage_data(bare))
        assert samples.known(staged.staged_content).checksum is None
        assert await catalog.get_image("j") == staged

    async def test_an_import_comes_back(self, catalog: Catalog) -> None:
        """Staged bytes and the task are kept at each step."""
        claim = samples.new_claim()
        image = await catalog.add_image(samples.queued("i"))
        steps = [
            samples.held_by(claim, begin_staging(samples.place("i/staged"))),
            samples.held_by(claim, reserve(25)),
            samples.held_by(claim, stage_data(samples.content(20))),
            begin_import(task("t1", max_attempts=2)),
            samples.held_by(claim, attempt_at(samples.place("i/1"))),
            give_back(claim, "the holder was lost", final=False),
            samples.held_by(claim, attempt_at(samples.place("i/2"))),
            samples.held_by(claim, store_data(samples.content(30))),
        ]
        for step in steps:
            image = await catalog.modify_image("i", step)
            assert image == await catalog.get_image("i")
            assert [image] == await samples.all_images(catalog)

        done = await catalog.get_task("t1")
        assert (done.status, done.attempts, done.writes) == (TaskStatus.SUCCESS, 2, "i")
        assert (image.task, image.staged, image.locations) == (
            None,
            None,
            (samples.place("i/2", 30),),
        )

    async def test_locations_keep_their_order(self, catalog: Catalog) -> None:
        """The first location is the first, whatever its store; and each can be removed."""
        sources = [await samples.add_active(catalog, name) for name in ("z", "m", "a")]
        places = tuple(source.locations[0] for source in sources)
        await catalog.add_image(samples.queued("i"))

        clone = replace(sources[0], locations=places)
        assert (await catalog.modify_image("i", share_data(clone))).locations == places
        assert (await catalog.get_image("i")).locations == places

        turned = await catalog.modify_image(
            "i", lambda image: replace(image, locations=places[:0:-1])
        )
        assert turned.locations == (places[2], places[1])
        assert (await catalog.get_image("i")) == turned

    async def test_deletion_and_restoration_come_back(self, catalog: Catalog) -> None:
        """A restored image has everything that it had, including its status."""
        await catalog.add_image(replace(samples.queued("i"), tags=("t",), properties={"p": "v"}))
        claim = samples.new_claim()
        written = begin_upload(samples.place("i/1")), store_data(samples.content())
        await samples.act(catalog, "i", claim, *written)
        before = await catalog.modify_image("i", deactivate)

        waiting = await catalog.modify_image("i", delete(delayed=True))
        assert waiting == await catalog.get_image("i")
        assert waiting.deleted_from is Status.DEACTIVATED

        after = await catalog.modify_image("i", restore)
        assert after == replace(
            before, version=after.version, since=after.since, updated_at=after.updated_at
        )

    async def test_a_refused_change_changes_nothing(self, catalog: Catalog) -> None:
        """The function's exception propagates unchanged, and nothing is written or stamped; nor if
        it returns the same image.
        """
        image = await samples.add_active(catalog, "i")

        with pytest.raises(InvalidTransition):
            await samples.act(catalog, "i", samples.new_claim(), begin_upload(samples.place("i/2")))
        with pytest.raises(ClaimLost):
            await samples.act(catalog, "i", samples.new_claim(), reserve(99))
        with pytest.raises(ZeroDivisionError):
            await catalog.modify_image(
                "i", lambda image: replace(image, version=1 // image.min_ram_mib)
            )

        assert await catalog.modify_image("i", lambda image: image) == image
        assert await catalog.get_image("i") == image
        assert await catalog.get_blob("i/2") is None
        assert await used_bytes(catalog, "a") == 10

    async def test_tombstones(self, catalog: Catalog) -> None:
        """Images deleted long ago go, the longest first, and their ids are never reused."""
        await samples.add_expired(catalog, "waits")
        await samples.add_active(catalog, "lives")
        for image_id in ("one", "two"):
            await samples.add_deleted(catalog, image_id)

        assert not await catalog.purge(samples.AN_HOUR, samples.ALL)
        assert list(await catalog.purge(samples.NO_DELAY, 1)) == ["one"]
        assert list(await catalog.purge(samples.NO_DELAY, samples.ALL)) == ["two"]
        assert not await catalog.purge(samples.NO_DELAY, samples.ALL)

        assert {image.id for image in await samples.all_images(catalog)} == {"waits", "lives"}
        assert not await samples.list_images(catalog, ImageQuery(tags=("t",)))
        with pytest.raises(ImageNotFound):
            await catalog.get_image("one")
        with pytest.raises(ImageExists):
            await catalog.add_image(samples.queued("one"))
        with pytest.raises(ImageNotFound):
            await catalog.get_image("one")
