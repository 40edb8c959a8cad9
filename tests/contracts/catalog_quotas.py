"""How every catalog keeps projects within their limits, also under concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import update

from contracts import catalog_samples as samples
from contracts.catalog_audit import audit
from imaged.catalogs.account_tables import accounts
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.claim import Claim
from imaged.core.deletion import delete, restore
from imaged.core.errors import QuotaExceeded
from imaged.core.growth import reserve
from imaged.core.quota import UNLIMITED, Account, Limits, LimitsUnknown, Recount, Resource
from imaged.core.uploading import (
    begin_attempt,
    begin_import,
    begin_staging,
    begin_upload,
    give_back,
    store_data,
    write_to,
)
from imaged.ports.catalog import Catalog
from imaged.testing.memory_catalog import MemoryCatalog
from support.quotas import account, limits, usage
from support.sample_images import draft, task

CONCURRENT_CALLS = 64
ROOM = 10  # for this many of them

Act = Callable[[Catalog, str], Awaitable[object]]


def set_defaults(catalog: Catalog, defaults: Limits) -> None:
    """The limits that hold for projects without their own."""
    assert isinstance(catalog, SqlCatalog | MemoryCatalog)
    catalog.limits.defaults = {**catalog.limits.defaults, **defaults}


async def _write_wrongly(catalog: Catalog, owner: str) -> None:
    """Change the account beside all changes of images."""
    if isinstance(catalog, MemoryCatalog):
        before = catalog.accounts[owner]
        catalog.accounts[owner] = replace(before, usage=usage(7, 8, 9, 1))
        return
    assert isinstance(catalog, SqlCatalog)
    wrong = {"used_bytes": 7, "staged_bytes": 8, "image_count": 9, "upload_count": 1}
    statement = update(accounts).where(accounts.c.owner == owner).values(wrong)
    await catalog.database.write(lambda db: db.execute(statement))


async def _create(catalog: Catalog, image_id: str) -> None:
    await catalog.add_image(samples.queued(f"new-{image_id}"))


async def _ask_for_image(catalog: Catalog, image_id: str) -> None:
    await catalog.add_image(draft(f"new-{image_id}", "a", task(f"t-{image_id}", owner="a")))


async def _upload(catalog: Catalog, image_id: str) -> None:
    began = begin_upload(samples.place(f"{image_id}/1"))
    await samples.act(catalog, image_id, samples.new_claim(), began)


async def _stage(catalog: Catalog, image_id: str) -> None:
    began = begin_staging(samples.place(f"{image_id}/1"))
    await samples.act(catalog, image_id, samples.new_claim(), began)


async def _import(catalog: Catalog, image_id: str) -> None:
    await catalog.modify_image(image_id, begin_import(task(f"t-{image_id}", owner="a")))


async def _upload_in_step(catalog: Catalog, image_id: str) -> None:
    await _upload_in_steps(catalog, image_id, 10)


async def _upload_in_steps(catalog: Catalog, image_id: str, *sizes: int) -> None:
    """An upload of unknown length, that reserves as it grows, and is given back if it cannot."""
    claim = samples.new_claim()
    began = begin_upload(samples.place(f"{image_id}/{uuid4()}", 0))
    await samples.act(catalog, image_id, claim, began)
    try:
        for size_bytes in sizes or (10, 20, 30):
            await _reserve_later(catalog, image_id, claim, size_bytes)
    except QuotaExceeded:
        await catalog.modify_image(image_id, give_back(claim, "no room", final=True))
        raise
    await samples.act(catalog, image_id, claim, store_data(samples.content(size_bytes)))


async def _reserve_later(catalog: Catalog, image_id: str, claim: Claim, size_bytes: int) -> None:
    """Reserve as soon as there is room, or raise if the upload has to give up what it holds."""
    while True:
        try:
            await samples.act(catalog, image_id, claim, reserve(size_bytes))
        except QuotaExceeded as refused:
            if not refused.may_fit_later:
                raise
        else:
            return


#: What asks for one of a resource: the resource, how much of it, and the call.
GROWING: dict[str, tuple[Resource, int, Act]] = {
    "create": (Resource.IMAGES, 1, _create),
    "task that makes an image": (Resource.IMAGES, 1, _ask_for_image),
    "upload": (Resource.TOTAL, 10, _upload),
    "upload of unknown length": (Resource.TOTAL, 10, _upload_in_step),
    "upload in flight": (Resource.UPLOADS, 1, _upload),
    "stage": (Resource.STAGED, 10, _stage),
    "stage, in all": (Resource.TOTAL, 10, _stage),
    "stage in flight": (Resource.UPLOADS, 1, _stage),
    "import": (Resource.UPLOADS, 1, _import),
    "task in flight": (Resource.UPLOADS, 1, _ask_for_image),
}


REFUSED_AT_ONCE = [what for what in GROWING if what != "upload of unknown length"]
RACING = ["create", "upload", "upload of unknown length", "stage", "task in flight"]


async def _usage_of(catalog: Catalog, resource: Resource) -> int:
    return (await catalog.get_account("a")).usage[resource]


class QuotasContract:
    """What is refused, and who is charged."""

    @pytest.mark.parametrize("what", REFUSED_AT_ONCE)
    async def test_a_limit_of_each_resource(self, catalog: Catalog, what: str) -> None:
        """What reaches it is done, what would exceed it changes nothing."""
        resource, size, act = GROWING[what]
        for image_id in ("i", "j"):
            await catalog.add_image(samples.queued(image_id))
        room = await _usage_of(catalog, resource) + size
        await catalog.set_limits("a", {resource: room})

        await act(catalog, "i")
        before = await samples.all_images(catalog)
        with pytest.raises(QuotaExceeded, match=f"limit '{resource}' of {room} .*: {room} are"):
            await act(catalog, "j")

        assert await samples.all_images(catalog) == before
        assert await _usage_of(catalog, resource) == room
        await audit(catalog)

    async def test_the_default_holds_for_projects_without_a_limit(self, catalog: Catalog) -> None:
        """Until they get one; unlimited is one, and removing it brings the default back."""
        set_defaults(catalog, limits(images=1))
        await catalog.add_image(samples.queued("i"))
        with pytest.raises(QuotaExceeded):
            await catalog.add_image(samples.queued("j"))
        await catalog.add_image(samples.queued("k", "b"))

        assert await catalog.set_limits("a", limits(images=None)) == account(
            "a", usage(images=1), limits(images=None)
        )
        await catalog.add_image(samples.queued("j"))
        unlimited = await catalog.get_account("a")
        await catalog.set_limits("a", {}, reset=[Resource.IMAGES])
        with pytest.raises(QuotaExceeded):
            await catalog.add_image(samples.queued("l"))

        assert unlimited == account("a", usage(images=2), limits(images=None))
        assert await catalog.get_account("a") == account("a", usage(images=2))

    async def test_a_default_of_zero(self, catalog: Catalog) -> None:
        """Nothing may be made, except where a project may."""
        set_defaults(catalog, limits(images=0))
        await catalog.set_limits("b", limits(images=1))

        with pytest.raises(QuotaExceeded):
            await catalog.add_image(samples.queued("i"))
        await catalog.add_image(samples.queued("i", "b"))

    async def test_an_image_that_was_refused_may_be_made_later(self, catalog: Catalog) -> None:
        """Its id is not taken, nor is that of its task."""
        await catalog.set_limits("a", limits(uploads=0))
        asked = draft("i", "a", task("t", owner="a"))
        with pytest.raises(QuotaExceeded):
            await catalog.add_image(asked)

        await catalog.set_limits("a", {}, reset=[Resource.UPLOADS])
        await catalog.add_image(asked)
        await audit(catalog)

    async def test_a_restored_image_needs_room_for_its_record(self, catalog: Catalog) -> None:
        """Its bytes were counted all the time, and the record was not."""
        await samples.add_active(catalog, "i")
        await catalog.set_limits("a", limits(total=10, images=1))
        await catalog.modify_image("i", delete(delayed=True))
        await catalog.add_image(samples.queued("j"))

        with pytest.raises(QuotaExceeded, match="limit 'images'"):
            await catalog.modify_image("i", restore)
        with pytest.raises(QuotaExceeded, match="limit 'total'"):
            await _upload(catalog, "j")

        await catalog.modify_image("j", delete(delayed=False))
        await catalog.modify_image("i", restore)
        assert (await catalog.get_account("a")).usage == usage(10, images=1)

    @pytest.mark.parametrize("resource", ["total", "images"])
    async def test_a_new_owner_needs_room(self, catalog: Catalog, resource: str) -> None:
        """Or the image stays with the old one."""
        image = await samples.add_active(catalog, "i")
        await catalog.set_limits("b", limits(**{resource: 0}))

        with pytest.raises(QuotaExceeded, match="project b"):
            await catalog.modify_image("i", lambda image: replace(image, owner="b"))

        assert await catalog.get_image("i") == image
        await audit(catalog)

    async def test_accounts_are_listed_by_name(self, catalog: Catalog) -> None:
        """In pages, with those that only have a limit."""
        for owner in ("c", "ä", "a"):
            await catalog.add_image(samples.queued(f"i-{owner}", owner))
        await catalog.set_limits("b", limits(images=5))
        expected = [
            account("a", usage(images=1)),
            account("b", own=limits(images=5)),
            account("c", usage(images=1)),
            account("ä", usage(images=1)),
        ]

        assert list(await catalog.list_accounts(None, samples.ALL)) == expected
        assert list(await catalog.list_accounts(None, 2)) == expected[:2]
        assert list(await catalog.list_accounts("b", 1)) == expected[2:3]
        assert list(await catalog.list_accounts("bb", samples.ALL)) == expected[2:]
        assert list(await catalog.list_accounts("ä", samples.ALL)) == []

    @pytest.mark.rule("quotas.8")
    async def test_a_wrong_account_is_found_and_corrected(self, catalog: Catalog) -> None:
        """By counting images in every state; its limits stay."""
        await samples.add_active(catalog, "active")
        await samples.add_staged(catalog, "staged")
        await samples.add_expired(catalog, "expired")
        await samples.add_deleted(catalog, "deleted")
        await samples.add_saving(catalog, "saving", samples.new_claim(), 100)
        await samples.add_active(catalog, "waiting", 1000)
        await catalog.modify_image("waiting", delete(delayed=True))
        await _ask_for_image(catalog, "draft")
        await samples.add_active(catalog, "of b", owner="b")
        await catalog.set_limits("a", limits(images=50))
        right = usage(1120, staged=10, images=4, uploads=3)
        wrong = account("a", usage(7, 8, 9, 1), limits(images=50))

        assert await catalog.recount_next(None) == Recount(replace(wrong, usage=right), right)
        await _write_wrongly(catalog, "a")
        found = await catalog.recount_next(None)
        assert found == Recount(wrong, right)
        assert found.is_wrong
        assert await catalog.get_account("a") == wrong
        assert await catalog.correct_account("a") == found
        assert await catalog.get_account("a") == replace(wrong, usage=right)
        assert not (await catalog.correct_account("a")).is_wrong
        await audit(catalog)

    async def test_recounts_go_through_all_projects(self, catalog: Catalog) -> None:
        """Also those without images; and there is an end."""
        for owner in ("c", "a"):
            await catalog.add_image(samples.queued(f"i-{owner}", owner))
        await catalog.set_limits("b", limits(images=5))
        owners: list[str] = []
        after: str | None = None

        while (recount := await catalog.recount_next(after)) is not None:
            after = recount.account.owner
            owners.append(after)

        assert owners == ["a", "b", "c"]


class QuotaRacesContract:
    """No limit is exceeded, whatever happens at once."""

    @pytest.mark.parametrize("what", RACING)
    @pytest.mark.rule("quotas.6")
    async def test_the_last_of_a_resource_is_given_once(self, catalog: Catalog, what: str) -> None:
        """Of 64 that ask at once, the ten that have room get it, and the account is exact."""
        resource, size, act = GROWING[what]
        names = [str(number) for number in range(CONCURRENT_CALLS)]
        for name in names:
            await catalog.add_image(samples.queued(name))
        room = await _usage_of(catalog, resource) + ROOM * size
        await catalog.set_limits("a", {resource: room})

        assert await _count_done(catalog, act, names) == ROOM

        assert await _usage_of(catalog, resource) == room
        await audit(catalog)

    @pytest.mark.rule("quotas.6", "quotas.9", "quotas.11")
    async def test_uploads_of_unknown_length_race_in_steps(self, catalog: Catalog) -> None:
        """None gets room that another one holds. The oldest wait for what younger ones give up, so
        that ten of them succeed.
        """
        names = [str(number) for number in range(CONCURRENT_CALLS)]
        for name in names:
            await catalog.add_image(samples.queued(name))
        await catalog.set_limits("a", limits(total=ROOM * 30))

        assert await _count_done(catalog, _upload_in_steps, names) == ROOM

        assert await _usage_of(catalog, Resource.TOTAL) == ROOM * 30
        await audit(catalog)

    async def test_an_account_is_corrected_while_it_is_charged(self, catalog: Catalog) -> None:
        """It is exact at the end: no charge is lost, and none counted twice."""
        await catalog.add_image(samples.queued("first"))
        await _write_wrongly(catalog, "a")

        async def work(number: int) -> None:
            await samples.add_active(catalog, str(number))
            await catalog.correct_account("a")

        await asyncio.gather(*[work(number) for number in range(CONCURRENT_CALLS // 2)])

        await audit(catalog)


async def _count_done(catalog: Catalog, act: Act, names: list[str]) -> int:
    """Ask for each name at the same time; return how many were not refused."""

    async def ask(name: str) -> bool:
        with suppress(QuotaExceeded):
            await act(catalog, name)
            return True
        return False

    return sum(await asyncio.gather(*[ask(name) for name in names]))


class LimitsToRead:
    """Limits that are known only after they were read, as those of Keystone are."""

    def __init__(self, limits: Limits) -> None:
        self.defaults: Limits = {**UNLIMITED, **limits}
        self.known: set[str] = set()
        self.reads: list[str] = []

    def limits_of(self, account: Account) -> Limits:
        """The same for all projects. Raises LimitsUnknown."""
        if account.owner not in self.known:
            raise LimitsUnknown(account.owner)
        return self.defaults

    async def read(self, project: str) -> None:
        """Know them from now on."""
        await asyncio.sleep(0)
        self.reads.append(project)
        self.known.add(project)


class LimitsToReadContract:
    """Changes wait for limits that have to be read, without a transaction that waits."""

    async def test_limits_are_read_once_when_a_change_needs_them(self, catalog: SqlCatalog) -> None:
        """Not for what shrinks or stays; and each change is made once."""
        catalog.limits = read = LimitsToRead(limits(images=2))
        await catalog.add_image(samples.queued("i"))
        await samples.add_active(catalog, "j")
        with pytest.raises(QuotaExceeded, match="limit 'images' of 2"):
            await catalog.add_image(samples.queued("k"))
        assert read.reads == ["a"]

        read.known.clear()
        await catalog.modify_image("i", samples.tag("t"))
        await catalog.modify_image("i", delete(delayed=False))
        assert read.reads == ["a"]
        image = await catalog.modify_image("j", lambda image: replace(image, owner="b"))
        assert (read.reads, image.version) == (["a", "b"], 3)
        await audit(catalog)

    async def test_a_task_that_makes_an_image(self, catalog: SqlCatalog) -> None:
        """Its draft waits for the limits of its project, and so does what it begins."""
        catalog.limits = read = LimitsToRead(limits(uploads=1))
        await _ask_for_image(catalog, "i")
        read.known.clear()
        claim = samples.new_claim()
        await samples.act(catalog, "new-i", claim, begin_attempt)
        await samples.act(catalog, "new-i", claim, write_to(samples.place("i/1")))

        assert read.reads == ["a", "a"]
        assert (await catalog.get_account("a")).usage == usage(10, images=1, uploads=1)
        await audit(catalog)
