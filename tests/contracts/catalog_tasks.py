"""What every catalog does with tasks: alone, in the image that they write, in the queue."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.catalog_audit import audit
from contracts.catalog_comparison import ids
from contracts.catalog_samples import (
    ALL,
    AN_HOUR,
    NO_DELAY,
    UNCHECKED,
    act,
    add_active,
    add_saving,
    all_images,
    content,
    list_images,
    new_claim,
    place,
    queued,
)
from imaged.core import uploading
from imaged.core.access import Caller
from imaged.core.claim import Claim, InstanceId
from imaged.core.errors import (
    ClaimLost,
    ImagedError,
    ImageNotFound,
    InvalidTransition,
    TaskNotFinal,
    TaskNotFound,
)
from imaged.core.lifecycle import Status
from imaged.core.query import ImageQuery, TaskColumn, TaskQuery
from imaged.core.task import (
    Progress,
    Task,
    TaskStatus,
    cancel,
    claim_task,
    finish_task,
    give_back_task,
)
from imaged.ports.catalog import Catalog
from imaged.ports.image_catalog import HeldClaim
from support.quotas import used_bytes
from support.sample_images import attempt_at, draft, task
from support.waiting import until

ANY = ("import", "verify")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


async def pick_up(catalog: Catalog, task_id: str, claim: Claim | None = None) -> Claim:
    """Claim a task that writes no image."""
    claim = claim or new_claim()
    await catalog.modify_task(task_id, lambda task: claim_task(task, claim))
    return claim


async def finish(catalog: Catalog, task_id: str, claim: Claim) -> Task:
    """Finish it with success."""
    return await catalog.modify_task(task_id, lambda task: finish_task({"n": 1})(task, claim))


class TasksContract:
    """Records of tasks, and their leases."""

    async def test_a_task_comes_back(self, catalog: Catalog) -> None:
        """At each step, with all its attributes; a final one has no secret."""
        asked = task(
            "t1",
            type="verify",
            owner="ä",
            user_id="ann",
            roles=("member", "ö"),
            request_id="req-1",
            input={"image_id": "i", "deep": {"list": [1, None, "ü"]}},
            sealed=b"\0secret\xff",
            image_id="i",
            max_attempts=5,
            keep_for=timedelta(microseconds=7),
        )
        added = await catalog.add_task(asked)
        assert added == await catalog.get_task("t1")
        assert added.created_at is not None
        assert added == replace(asked, created_at=added.created_at, updated_at=added.created_at)

        claim = await pick_up(catalog, "t1")
        await catalog.update_task_progress("t1", 1, Progress("reading", 2**60, None))
        running = await catalog.get_task("t1")
        assert (running.claim, running.attempts) == (claim, 1)
        assert running.progress == Progress("reading", 2**60, None)

        done = await finish(catalog, "t1", claim)
        assert done == await catalog.get_task("t1")
        assert (done.status, done.result, done.message) == (TaskStatus.SUCCESS, {"n": 1}, None)
        assert (done.claim, done.finished_by, done.sealed) == (None, claim.token, None)
        assert done.updated_at is not None
        assert done.expires_at == done.updated_at + timedelta(microseconds=7)

    @settings(max_examples=25, deadline=None, suppress_health_check=UNCHECKED)
    @given(fields=st.dictionaries(st.text(max_size=5), JSON, max_size=4))
    async def test_any_input_comes_back(self, catalog: Catalog, fields: dict[str, object]) -> None:
        """Whatever JSON allows, except half a surrogate pair, which is refused before."""
        name = f"t{len(await catalog.list_tasks(TaskQuery(limit=ALL)))}"

        await catalog.add_task(task(name, input=fields))

        assert (await catalog.get_task(name)).input == fields

    async def test_a_task_that_is_not_there(self, catalog: Catalog) -> None:
        """The error has its id; recording progress of it has no effect."""
        for ask in (
            lambda: catalog.get_task("none"),
            lambda: catalog.modify_task("none", lambda task: task),
            lambda: catalog.remove_task("none", id),
        ):
            with pytest.raises(TaskNotFound, match="none"):
                await ask()
        await catalog.update_task_progress("none", 1, Progress("reading"))

    async def test_a_refused_change_changes_nothing(self, catalog: Catalog) -> None:
        """Nor does one that returns what it was given."""
        added = await catalog.add_task(task("t1"))

        with pytest.raises(ClaimLost):
            await finish(catalog, "t1", new_claim())
        assert await catalog.modify_task("t1", lambda task: task) == added
        assert await catalog.get_task("t1") == added

    async def test_progress_of_another_attempt_is_left_out(self, catalog: Catalog) -> None:
        """Of one that was lost, and of a task that is pending or final."""
        await catalog.add_task(task("t1"))
        await catalog.update_task_progress("t1", 0, Progress("early"))
        assert (await catalog.get_task("t1")).progress is None
        claim = await pick_up(catalog, "t1")
        await catalog.update_task_progress("t1", 2, Progress("late"))
        assert (await catalog.get_task("t1")).progress is None
        done = await finish(catalog, "t1", claim)
        await catalog.update_task_progress("t1", 1, Progress("too late"))
        assert await catalog.get_task("t1") == done

    async def test_an_owners_unfinished_tasks_are_counted(self, catalog: Catalog) -> None:
        """Pending and running ones, alone or in an image; not those of others."""
        for name, owner in (("t1", "a"), ("t2", "a"), ("t3", "a"), ("t4", "b")):
            await catalog.add_task(task(name, owner=owner))
        await catalog.add_image(draft("i", made_by=task("t5", owner="a")))
        await pick_up(catalog, "t1")
        await catalog.modify_task("t2", lambda task: cancel(task, "enough"))

        assert await catalog.count_unfinished_tasks("a") == 3
        assert await catalog.count_unfinished_tasks("b") == 1
        assert await catalog.count_unfinished_tasks("c") == 0

    async def test_a_summary_names_the_instance_of_each_task(self, catalog: Catalog) -> None:
        """Whether the claim is the task's own, or that of the image that it writes."""
        before = (await catalog.summarize()).at
        await catalog.add_task(task("t1", type="verify", owner="b"))
        await catalog.add_task(task("waits", type="verify"))
        await catalog.add_image(draft("i", made_by=task("t2", type="import", owner="a")))
        await pick_up(catalog, "t1", new_claim(AN_HOUR, "two"))
        making = new_claim(AN_HOUR, "one")
        await act(catalog, "i", making, uploading.begin_attempt)

        summary = await catalog.summarize()

        assert [(one.instance, one.task_id, one.type) for one in summary.held_tasks] == [
            ("one", "t2", "import"),
            ("two", "t1", "verify"),
        ]
        assert [one.owner for one in summary.held_tasks] == ["a", "b"]
        for one in summary.held_tasks:
            assert one.since == (await catalog.get_task(one.task_id)).begun_at
            assert before + AN_HOUR < one.lease_until < summary.at + AN_HOUR
        await catalog.modify_image("i", uploading.give_back(making, "lost", final=False))
        left = (await catalog.summarize()).held_tasks
        assert [one.task_id for one in left] == ["t1"]

    async def test_leases_of_one_instant_lapse_by_token(self, catalog: Catalog) -> None:
        """Two instances that look at once find them in the same order."""
        claims = {new_claim(NO_DELAY): name for name in ("t1", "t2", "t3")}
        for claim, name in claims.items():
            await catalog.add_task(task(name))
            await pick_up(catalog, name, claim)
        await catalog.renew_leases(claims)

        by_token = sorted(claims, key=lambda claim: claim.token)
        expected = [HeldClaim(claim, None, claims[claim]) for claim in by_token]
        assert list(await catalog.find_lapsed(ALL)) == expected

    async def test_leases_of_tasks_are_leases(self, catalog: Catalog) -> None:
        """They are renewed, found when they expire, and end with the work."""
        for name in ("t1", "t2"):
            await catalog.add_task(task(name))
        held, lapsing = await pick_up(catalog, "t1"), new_claim(NO_DELAY)
        await pick_up(catalog, "t2", lapsing)

        assert set(await catalog.renew_leases([held, new_claim()])) == {held}
        assert list(await catalog.find_lapsed(ALL)) == [HeldClaim(lapsing, None, "t2")]
        assert set(await catalog.list_attempts()) == {held.token, lapsing.token}

        lost = await catalog.modify_task("t2", give_back_task(lapsing, "lost", final=False))
        assert (lost.status, lost.attempts, lost.claim) == (TaskStatus.PENDING, 1, None)
        await finish(catalog, "t1", held)
        assert not await catalog.renew_leases([held, lapsing])
        assert not await catalog.find_lapsed(ALL)
        assert not await catalog.list_attempts()
        await audit(catalog)

    async def test_claims_of_one_holder(self, catalog: Catalog) -> None:
        """They are found before their leases expire, of images and of tasks; not those of others,
        which may have longer names.
        """
        mine = [new_claim(owner="a#1") for _ in range(3)]
        others = [new_claim(owner=owner) for owner in ("a", "a#11", "a#2")]
        for number, claim in enumerate((*mine[:2], *others[:2])):
            await add_saving(catalog, f"i{number}", claim)
        for name, claim in (("u1", mine[2]), ("u2", others[2])):
            await catalog.add_task(task(name))
            await pick_up(catalog, name, claim)

        expected = [
            HeldClaim(mine[0], "i0"),
            HeldClaim(mine[1], "i1"),
            HeldClaim(mine[2], None, "u1"),
        ]
        expected.sort(key=lambda held: held.claim.token)
        assert list(await catalog.find_held(InstanceId("a#1"), ALL)) == expected
        assert list(await catalog.find_held(InstanceId("a#1"), 2)) == expected[:2]
        assert not await catalog.find_held(InstanceId("b"), ALL)

    async def test_leases_of_both_kinds_lapse_in_one_order(self, catalog: Catalog) -> None:
        """The longest first, of both kinds, within the limit; living ones are not found."""
        first, second, third = (new_claim(NO_DELAY) for _ in range(3))
        for name in ("t1", "t3", "lives"):
            await catalog.add_task(task(name))
        await catalog.add_image(draft("i"))
        await pick_up(catalog, "lives")
        await pick_up(catalog, "t1", first)
        await act(catalog, "i", second, uploading.begin_attempt)
        await pick_up(catalog, "t3", third)

        lapsed = [
            HeldClaim(first, None, "t1"),
            HeldClaim(second, "i"),
            HeldClaim(third, None, "t3"),
        ]
        assert list(await catalog.find_lapsed(ALL)) == lapsed
        assert list(await catalog.find_lapsed(2)) == lapsed[:2]
        assert set(await catalog.renew_leases([first, second, third])) == {first, second, third}

    async def test_only_final_tasks_are_removed(self, catalog: Catalog) -> None:
        """And only if the caller may."""
        await catalog.add_task(task("t1"))
        with pytest.raises(TaskNotFinal):
            await catalog.remove_task("t1", id)
        claim = await pick_up(catalog, "t1")
        with pytest.raises(TaskNotFinal):
            await catalog.remove_task("t1", id)
        await finish(catalog, "t1", claim)

        def refuse(seen: Task) -> None:
            raise TaskNotFound(seen.id)

        with pytest.raises(TaskNotFound):
            await catalog.remove_task("t1", refuse)
        await catalog.remove_task("t1", id)
        with pytest.raises(TaskNotFound):
            await catalog.get_task("t1")

    async def test_tasks_expire(self, catalog: Catalog) -> None:
        """After their time, the longest ended first, all owners alike; what they made stays."""
        await catalog.add_image(draft("i", made_by=task("made", owner="b", keep_for=NO_DELAY)))
        source = await add_active(catalog, "source")
        claim = new_claim()
        await act(catalog, "i", claim, uploading.begin_attempt, uploading.share_to_finish(source))
        for name, keep_for in (("t2", NO_DELAY), ("later", AN_HOUR), ("t3", NO_DELAY)):
            await catalog.add_task(task(name, keep_for=keep_for))
            await catalog.modify_task(name, lambda task: cancel(task, "enough"))
        await catalog.add_task(task("waits", keep_for=NO_DELAY))

        assert ids(await catalog.expire_tasks(2)) == ["made", "t2"]
        assert ids(await catalog.expire_tasks(ALL)) == ["t3"]
        assert not await catalog.expire_tasks(ALL)
        left = await catalog.list_tasks(TaskQuery(limit=ALL))
        assert sorted(ids(left)) == ["later", "waits"]
        assert (await catalog.get_image("i")).status is Status.ACTIVE

    async def test_a_task_expires_by_itself(self, catalog: Catalog) -> None:
        """By the catalog's clock."""
        await catalog.add_task(task("t1", keep_for=timedelta(milliseconds=100)))
        await catalog.modify_task("t1", lambda task: cancel(task, "enough"))

        async def is_gone() -> bool:
            return ids(await catalog.expire_tasks(ALL)) == ["t1"]

        await until(is_gone)


class WritingTasksContract:
    """A task that writes an image is in it, and ends with it: one change for both."""

    async def test_a_draft_comes_back_with_its_task(self, catalog: Catalog) -> None:
        """When the task has made it, it is an image like others, created at that moment."""
        added = await catalog.add_image(draft("i", "b", task("t1", type="import", owner="b")))
        assert added == await catalog.get_image("i")
        assert (added.draft, added.status) == (True, Status.IMPORTING)
        assert added.task == await catalog.get_task("t1")
        assert added.task is not None
        assert (added.task.writes, added.task.created_at) == ("i", added.created_at)

        claim = new_claim()
        made = await act(
            catalog, "i", claim, attempt_at(place("i/1")), uploading.store_data(content())
        )
        assert made == await catalog.get_image("i")
        assert (made.draft, made.task, made.status) == (False, None, Status.ACTIVE)
        assert made.created_at == made.updated_at
        done = await catalog.get_task("t1")
        assert (done.status, done.image_id) == (TaskStatus.SUCCESS, "i")
        assert done.result == {"image_id": "i"}
        await audit(catalog)

    async def test_a_draft_is_not_listed(self, catalog: Catalog) -> None:
        """Neither its owner nor an admin lists it; an operator does."""
        await catalog.add_image(draft("i", "p1"))

        for role in ("member", "admin"):
            caller = Caller("ann", "p1", frozenset({role}))
            for any_visibility in (False, True):
                query = ImageQuery(caller=caller, any_visibility=any_visibility)
                assert not await list_images(catalog, query)
        assert [image.id for image in await all_images(catalog)] == ["i"]

    async def test_a_refused_draft_leaves_no_task(self, catalog: Catalog) -> None:
        """The id is taken: nothing of it is stored."""
        await catalog.add_image(queued("i"))

        with pytest.raises(ImagedError):
            await catalog.add_image(draft("i", made_by=task("t1")))

        assert not await catalog.list_tasks(TaskQuery())

    async def test_cancelling_the_task_ends_the_work_on_the_image(self, catalog: Catalog) -> None:
        """Through the task alone: image, claim, bytes and quota follow in the same transaction."""
        await catalog.add_image(draft("made", made_by=task("t1")))
        await catalog.add_image(queued("own"))
        await catalog.modify_image("own", uploading.begin_import(task("t2", owner="a")))
        claims = {name: new_claim() for name in ("made", "own")}
        for name, claim in claims.items():
            await act(catalog, name, claim, attempt_at(place(f"{name}/1")))

        for name in ("t1", "t2"):
            ended = await catalog.modify_task(name, lambda task: cancel(task, "enough"))
            assert ended == await catalog.get_task(name)
            assert (ended.status, ended.message) == (TaskStatus.FAILURE, "enough")

        made, own = await catalog.get_image("made"), await catalog.get_image("own")
        assert (made.status, made.draft, made.task) == (Status.DELETED, True, None)
        assert (own.status, own.task, own.claim) == (Status.QUEUED, None, None)
        assert own.last_failure is not None
        assert own.last_failure.reason == "enough"
        assert not await catalog.renew_leases(claims.values())
        assert await used_bytes(catalog, "a") == 0
        await audit(catalog)

    async def test_a_lost_attempt_leaves_the_task_to_others(self, catalog: Catalog) -> None:
        """The task is pending again, in the image too."""
        await catalog.add_image(draft("i", made_by=task("t1", max_attempts=2)))
        claim = new_claim()
        await act(catalog, "i", claim, uploading.begin_attempt)

        lost = await catalog.modify_image("i", uploading.give_back(claim, "Lost.", final=False))

        now = await catalog.get_task("t1")
        assert (now.status, now.attempts) == (TaskStatus.PENDING, 1)
        assert lost.task == now

    async def test_progress_does_not_touch_the_image(self, catalog: Catalog) -> None:
        """It belongs to the task alone; and the next change of the image does not undo it."""
        await catalog.add_image(draft("i", made_by=task("t1")))
        claim = new_claim()
        before = await act(catalog, "i", claim, uploading.begin_attempt)

        await catalog.update_task_progress("t1", 1, Progress("fetching", 3, 9))
        after = await catalog.get_image("i")
        assert after.task is not None
        assert after.task.progress == Progress("fetching", 3, 9)
        assert replace(after, task=before.task) == before
        await catalog.modify_image("i", lambda image: replace(image, name="n"))
        assert (await catalog.get_task("t1")).progress == Progress("fetching", 3, 9)

    async def test_a_final_task_is_changed_by_itself(self, catalog: Catalog) -> None:
        """Its image has other work by now, or is gone; cancelling it changes nothing."""
        await catalog.add_image(draft("i", made_by=task("t1")))
        ended = await catalog.modify_task("t1", lambda task: cancel(task, "enough"))
        await catalog.purge(-AN_HOUR, ALL)
        with pytest.raises(ImageNotFound):
            await catalog.get_image("i")

        assert await catalog.modify_task("t1", lambda task: cancel(task, "again")) == ended
        await catalog.remove_task("t1", id)

    async def test_an_image_has_one_writer(self, catalog: Catalog) -> None:
        """The second is refused without effect; after the first has ended, another may begin."""
        await catalog.add_image(queued("i"))
        await catalog.modify_image("i", uploading.begin_import(task("t1")))
        with pytest.raises(InvalidTransition):
            await catalog.modify_image("i", uploading.begin_import(task("t2")))
        with pytest.raises(TaskNotFound):
            await catalog.get_task("t2")

        claim = new_claim()
        await act(catalog, "i", claim, attempt_at(place("i/1")))
        gave_up = uploading.give_back(claim, "no such page", final=True)
        assert (await catalog.modify_image("i", gave_up)).task is None
        ended = await catalog.get_task("t1")
        assert (ended.status, ended.message) == (TaskStatus.FAILURE, "no such page")

        again = await catalog.modify_image("i", uploading.begin_import(task("t2")))
        assert again == await catalog.get_image("i")
        assert again.task == await catalog.get_task("t2")
        assert await catalog.get_task("t1") == ended


class TaskQueueContract:
    """Owners take turns; the oldest first among equals."""

    async def test_one_owner_gets_them_in_their_order(self, catalog: Catalog) -> None:
        """By age, of the requested types, within the limit."""
        for name in ("c", "a", "b"):
            await catalog.add_task(task(name, type="import"))
        await catalog.add_task(task("v", type="verify"))

        assert ids(await catalog.find_pending_tasks(["import"], ALL)) == ["c", "a", "b"]
        assert ids(await catalog.find_pending_tasks(ANY, 2)) == ["c", "a"]
        assert ids(await catalog.find_pending_tasks(["verify"], ALL)) == ["v"]
        assert not await catalog.find_pending_tasks([], ALL)
        assert not await catalog.find_pending_tasks(["unknown"], ALL)
        found = await catalog.find_pending_tasks(["verify"], 1)
        assert list(found) == [await catalog.get_task("v")]

    async def test_tasks_invisible_to_the_caller(self, catalog: Catalog) -> None:
        """Of none of the known types, and pending long enough, since they are."""
        for name, kind in (("b", "magic"), ("a", "magic"), ("v", "verify"), ("p", "magic")):
            await catalog.add_task(task(name, type=kind))
        await pick_up(catalog, "p")
        again = await pick_up(catalog, "b")
        await catalog.modify_task("b", give_back_task(again, "lost", final=False))
        await catalog.add_task(task("ended", type="magic"))
        await catalog.modify_task("ended", lambda task: cancel(task, "enough"))

        found = await catalog.find_stale_tasks(["verify"], NO_DELAY, ALL)
        assert ids(found) == ["a", "b"]
        assert found[0] == await catalog.get_task("a")
        assert ids(await catalog.find_stale_tasks(["verify"], NO_DELAY, 1)) == ["a"]
        assert not await catalog.find_stale_tasks(["verify", "magic"], NO_DELAY, ALL)
        assert not await catalog.find_stale_tasks([], AN_HOUR, ALL)

    async def test_owners_take_turns(self, catalog: Catalog) -> None:
        """After its first task, an owner of many waits until others had theirs."""
        for number in range(4):
            await catalog.add_task(task(f"a{number}", type="verify", owner="a"))
        for number in range(2):
            await catalog.add_task(task(f"b{number}", type="verify", owner="b"))
        await catalog.add_task(task("c0", type="verify", owner="c"))

        turns = ids(await catalog.find_pending_tasks(ANY, ALL))

        assert turns == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]

    async def test_running_tasks_count_as_a_turn(self, catalog: Catalog) -> None:
        """Wherever it runs, and whatever its type; final ones do not count."""
        for name in ("a0", "a1", "a2", "a3"):
            await catalog.add_task(task(name, type="verify", owner="a"))
        await catalog.add_image(draft("i", "a", task("d", type="import", owner="a")))
        await catalog.add_task(task("b0", type="verify", owner="b"))
        await catalog.add_task(task("b1", type="verify", owner="b"))
        claim = await pick_up(catalog, "a0")
        await act(catalog, "i", new_claim(), uploading.begin_attempt)

        turns = ids(await catalog.find_pending_tasks(["verify"], ALL))
        assert turns == ["b0", "b1", "a1", "a2", "a3"]

        await finish(catalog, "a0", claim)
        turns = ids(await catalog.find_pending_tasks(["verify"], ALL))
        assert turns == ["b0", "b1", "a1", "a2", "a3"]

    async def test_the_owner_served_last_waits(self, catalog: Catalog) -> None:
        """If nothing runs, it is another owner's turn, however old the tasks of the first."""
        for name in ("a0", "a1", "a2"):
            await catalog.add_task(task(name, type="verify", owner="a"))
        for name in ("b0", "b1"):
            await catalog.add_task(task(name, type="verify", owner="b"))

        order = []
        for _ in range(5):
            (first, *_) = await catalog.find_pending_tasks(ANY, 1)
            order.append(first.id)
            await finish(catalog, first.id, await pick_up(catalog, first.id))

        assert order == ["a0", "b0", "a1", "b1", "a2"]

    async def test_tasks_given_back_wait_again(self, catalog: Catalog) -> None:
        """In its old position: it has waited longest. Cancelled ones are not pending."""
        for name in ("t1", "t2", "t3"):
            await catalog.add_task(task(name, type="verify"))
        claim = await pick_up(catalog, "t1")
        assert ids(await catalog.find_pending_tasks(ANY, ALL)) == ["t2", "t3"]
        await catalog.modify_task("t1", give_back_task(claim, "lost", final=False))
        await catalog.modify_task("t2", lambda task: cancel(task, "enough"))

        assert ids(await catalog.find_pending_tasks(ANY, ALL)) == ["t1", "t3"]

    async def test_a_task_is_picked_up_once(self, catalog: Catalog) -> None:
        """Of many workers that see it, one claims it: alone or in an image."""
        await catalog.add_task(task("t1", type="verify"))
        await catalog.add_image(draft("i", made_by=task("t2")))
        picked: list[str] = []

        async def work() -> None:
            with suppress(InvalidTransition):
                await pick_up(catalog, "t1")
                picked.append("t1")
            with suppress(InvalidTransition):
                await act(catalog, "i", new_claim(), uploading.begin_attempt)
                picked.append("t2")

        await asyncio.gather(*[work() for _ in range(30)])

        assert sorted(picked) == ["t1", "t2"]
        await audit(catalog)

    async def test_cancelled_and_finished_at_once(self, catalog: Catalog) -> None:
        """One of both: never a failed task with an existing image, or the reverse."""
        source = await add_active(catalog, "source")
        for number in range(12):
            name, claim = f"i{number}", new_claim()
            await catalog.add_image(draft(name, made_by=task(f"t{number}")))
            await act(catalog, name, claim, uploading.begin_attempt)

            async def finish_it(name: str = name, claim: Claim = claim) -> None:
                with suppress(ClaimLost):
                    await act(catalog, name, claim, uploading.share_to_finish(source))

            async def cancel_it(number: int = number) -> None:
                await catalog.modify_task(f"t{number}", lambda task: cancel(task, "enough"))

            race = [finish_it(), cancel_it()]
            await asyncio.gather(*(race if number % 2 else race[::-1]))
            image, ended = await catalog.get_image(name), await catalog.get_task(f"t{number}")
            assert (ended.status, image.status) in {
                (TaskStatus.SUCCESS, Status.ACTIVE),
                (TaskStatus.FAILURE, Status.DELETED),
            }
        await audit(catalog)


class TaskListsContract:
    """Pages of tasks, as ``core/query`` defines them in plain Python."""

    async def test_what_is_asked_for(self, catalog: Catalog) -> None:
        """By type, status, owner and image, each alone and together."""
        await catalog.add_task(task("v1", type="verify", owner="a", image_id="i"))
        await catalog.add_task(task("v2", type="verify", owner="b", image_id="j"))
        await catalog.add_image(draft("i", "a", task("m1", type="import", owner="a")))
        await catalog.modify_task("v2", lambda task: cancel(task, "enough"))

        async def found(**asked: object) -> list[str]:
            query = TaskQuery(descending=False, **asked)  # type: ignore[arg-type]
            return ids(await catalog.list_tasks(query))

        assert await found() == ["v1", "v2", "m1"]
        assert await found(type="verify") == ["v1", "v2"]
        assert await found(status=TaskStatus.FAILURE) == ["v2"]
        assert await found(owner="a") == ["v1", "m1"]
        assert await found(image_id="i") == ["v1", "m1"]
        assert await found(image_id="i", type="import") == ["m1"]
        assert await found(caller=Caller("ann", "b", frozenset({"member"}))) == ["v2"]
        assert await found(caller=Caller("root", "z", frozenset({"admin"}))) == ["v1", "v2", "m1"]
        assert await found(caller=Caller("ann", "b", frozenset()), owner="a") == []
        assert await found(limit=1) == ["v1"]

    @pytest.mark.parametrize("column", list(TaskColumn))
    @pytest.mark.parametrize("descending", [False, True])
    async def test_pages_follow_each_other(
        self, catalog: Catalog, column: TaskColumn, descending: bool
    ) -> None:
        """In any order, each task is listed once, as in plain Python."""
        for number in (3, 1, 4, 0, 5, 2):
            asked = task(f"t{number}", type=ANY[number % 2], owner="ab"[number % 3 > 0])
            await catalog.add_task(asked)
        await catalog.modify_task("t4", lambda task: cancel(task, "enough"))
        query = TaskQuery(sort_by=column, descending=descending, limit=4)
        everything = list(await catalog.list_tasks(replace(query, limit=ALL)))

        page, seen = list(await catalog.list_tasks(query)), []
        while page:
            seen += page
            page = list(await catalog.list_tasks(replace(query, after=page[-1])))

        assert seen == everything
        expected = sorted(
            everything, key=lambda task: (getattr(task, column), task.id), reverse=descending
        )
        assert seen == expected
        assert len(seen) == 6
