"""What every catalog does with the members of images."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from structlog.contextvars import bound_contextvars

from contracts import catalog_samples as samples
from imaged.core.access import OPERATOR, Caller
from imaged.core.deletion import delete, restore
from imaged.core.errors import TooManyMembers
from imaged.core.image import Change, Image, Visibility
from imaged.core.member import Member, MemberStatus
from imaged.core.query import ImageQuery
from imaged.core.sharing import add_member, answer, remove_member
from imaged.ports.catalog import Catalog

CONCURRENT_ADDS = 64
LIMIT = 10
MIA = Caller("mia", "mia", frozenset({"member", "reader"}))


async def share(catalog: Catalog, image_id: str, *member_ids: str) -> Image:
    """Share an image with these projects; returns it afterwards."""
    for member_id in member_ids:
        await catalog.modify_image(image_id, add_member(OPERATOR, member_id, None))
    return await catalog.get_image(image_id)


async def listed(catalog: Catalog, **more: object) -> list[str]:
    """What the member lists."""
    query = replace(ImageQuery(caller=MIA), **more)  # type: ignore[arg-type]
    return [image.id for image in await samples.list_images(catalog, query)]


class MembersContract:
    """Members are written with their image, and only with it."""

    async def test_members_are_kept(self, catalog: Catalog) -> None:
        """With their answers, each dated by the catalog; those of other images are others."""
        created = await catalog.add_image(samples.queued("i"))
        await catalog.add_image(samples.queued("j"))
        await share(catalog, "i", "mia", "otto")
        await share(catalog, "j", "mia")
        before = await catalog.get_image("i")
        accept = answer(MIA, "mia", MemberStatus.ACCEPTED)
        after = await catalog.modify_image("i", accept)
        mia = before.members["mia"]

        assert await catalog.get_image("i") == after
        assert mia.created_at == mia.updated_at is not None
        answered_at = after.members["mia"].updated_at
        assert answered_at is not None
        assert answered_at >= samples.known(mia.updated_at)
        accepted = Member("mia", MemberStatus.ACCEPTED, mia.created_at, answered_at)
        assert after.members == {"mia": accepted, "otto": before.members["otto"]}
        assert (after.updated_at, after.version) == (created.updated_at, created.version + 3)
        removed = await catalog.modify_image("i", remove_member(OPERATOR, "mia"))
        assert (await catalog.get_image("i")).members == removed.members
        assert removed.members.keys() == {"otto"}
        assert (await catalog.get_image("j")).members.keys() == {"mia"}

    async def test_a_member_that_is_added_again_begins_anew(self, catalog: Catalog) -> None:
        """Its earlier answer and dates are gone."""
        await catalog.add_image(samples.queued("i"))
        first = await share(catalog, "i", "mia")
        await catalog.modify_image("i", answer(MIA, "mia", MemberStatus.REJECTED))
        await catalog.modify_image("i", remove_member(OPERATOR, "mia"))
        again = await share(catalog, "i", "mia")

        mia = again.members["mia"]
        assert mia.status is MemberStatus.PENDING
        assert samples.known(mia.created_at) >= samples.known(first.members["mia"].created_at)
        assert mia.created_at == mia.updated_at

    async def test_members_go_with_their_image(self, catalog: Catalog) -> None:
        """They wait while it can be restored, and are purged with it."""
        await samples.add_active(catalog, "i")
        shared = await share(catalog, "i", "mia")
        deleted = await catalog.modify_image("i", delete(delayed=True))
        restored = await catalog.modify_image("i", restore)
        assert deleted.members == restored.members == shared.members
        assert (await catalog.get_image("i")).members == shared.members

        await catalog.add_image(samples.queued("j"))
        await share(catalog, "j", "mia")
        await catalog.modify_image("j", delete(delayed=False))
        assert await catalog.purge(samples.NO_DELAY, samples.ALL) == ["j"]
        assert await listed(catalog, member_status=None) == ["i"]

    async def test_members_stay_while_an_image_is_not_shared(self, catalog: Catalog) -> None:
        """They see it again when it is shared again, with their answer of before."""
        await catalog.add_image(samples.queued("i"))
        shared = await share(catalog, "i", "mia")
        await catalog.modify_image("i", answer(MIA, "mia", MemberStatus.ACCEPTED))
        for visibility in (Visibility.PRIVATE, Visibility.COMMUNITY):
            await catalog.modify_image("i", _seen_as(visibility))
            assert await listed(catalog, member_status=None) == []
        await catalog.modify_image("i", _seen_as(Visibility.SHARED))

        assert await listed(catalog) == ["i"]
        mia = (await catalog.get_image("i")).members["mia"]
        assert mia.created_at == shared.members["mia"].created_at

    async def test_what_a_member_lists(self, catalog: Catalog) -> None:
        """The images to which it gave this answer, and no deleted one."""
        for status in MemberStatus:
            for name in (status.value, f"deleted {status}"):
                await samples.add_active(catalog, name)
                await share(catalog, name, "mia", "otto")
                await catalog.modify_image(name, answer(MIA, "mia", status))
            await catalog.modify_image(f"deleted {status}", delete(delayed=True))

        for status in MemberStatus:
            assert await listed(catalog, member_status=status) == [status.value]
        assert set(await listed(catalog, member_status=None)) == set(MemberStatus)

    async def test_lists_have_no_members(self, catalog: Catalog) -> None:
        """For any caller: an image may have many, and a page has many images."""
        await catalog.add_image(samples.queued("i"))
        shared = await share(catalog, "i", "mia")

        assert await samples.all_images(catalog) == [replace(shared, members={})]

    async def test_who_shared_it_is_in_the_history(self, catalog: Catalog) -> None:
        """Each change of a member has an entry, at its time."""
        created = await catalog.add_image(samples.queued("i"))
        with bound_contextvars(user_id="ann", project_id="a"):
            added = await share(catalog, "i", "mia")
        await catalog.modify_image("i", answer(MIA, "mia", MemberStatus.ACCEPTED))
        await catalog.modify_image("i", answer(MIA, "mia", MemberStatus.ACCEPTED))
        await catalog.modify_image("i", remove_member(OPERATOR, "mia"))
        entries = (await catalog.get_history("i")).entries

        assert [(one.number, one.action, one.details) for one in entries[1:]] == [
            (1, "member_added", {"member_id": "mia"}),
            (2, "member_answered", {"member_id": "mia", "member_status": "accepted"}),
            (3, "member_removed", {"member_id": "mia"}),
        ]
        assert entries[1].actor.user_id == "ann"
        assert entries[1].at == added.members["mia"].created_at
        assert entries[3].at >= entries[1].at >= samples.known(created.created_at)

    async def test_the_limit_of_members_is_never_exceeded(self, catalog: Catalog) -> None:
        """Of many projects added at the same moment, as many as the limit become members."""
        await catalog.add_image(samples.queued("i"))
        added: list[str] = []

        async def add(number: int) -> None:
            with suppress(TooManyMembers):
                await catalog.modify_image("i", add_member(OPERATOR, f"p{number}", LIMIT))
                added.append(f"p{number}")

        await asyncio.gather(*[add(number) for number in range(CONCURRENT_ADDS)])

        assert len(added) == LIMIT
        assert (await catalog.get_image("i")).members.keys() == set(added)

    async def test_answers_and_changes_at_the_same_moment(self, catalog: Catalog) -> None:
        """None is lost: members answer while the owner adds others."""
        await catalog.add_image(samples.queued("i"))
        await share(catalog, "i", *[f"p{number}" for number in range(8)])

        async def accept(number: int) -> None:
            project = f"p{number}"
            caller = Caller("u", project, frozenset({"member", "reader"}))
            await catalog.modify_image("i", answer(caller, project, MemberStatus.ACCEPTED))

        await asyncio.gather(
            *[accept(number) for number in range(8)],
            *[share(catalog, "i", f"q{number}") for number in range(8)],
        )

        members = (await catalog.get_image("i")).members
        accepted = {key for key, one in members.items() if one.status is MemberStatus.ACCEPTED}
        assert accepted == {f"p{number}" for number in range(8)}
        assert len(members) == 16


def _seen_as(visibility: Visibility) -> Change:
    return lambda image: replace(image, visibility=visibility)
