"""Any number of changes on a few images that share bytes: what is always true.

The machine is a catalog without a database: dicts, and ``core/ledger`` after every change. It
knows nothing of services. Writers that lost their claim go on trying, and scrubbers come late.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from imaged.core import growth, uploading
from imaged.core.blob import Blob, BlobState
from imaged.core.claim import Claim
from imaged.core.deletion import deactivate, delete, expire, reactivate, restore
from imaged.core.edits import may_change_formats
from imaged.core.errors import ImagedError
from imaged.core.image import Change, ClaimedChange, Formats, Image, unless_formats_changed
from imaged.core.ledger import (
    created,
    settle,
    settle_scrubbed,
    touched,
    without_ended_task,
)
from imaged.core.lifecycle import FAILURE_EVENTS, RESTORE_EVENTS, Status, event_between
from imaged.core.quota import Account, Resource, charge, charges
from imaged.core.task import TaskStatus, cancel
from support.quotas import usage, usage_by_owner
from support.sample_images import (
    LEASE,
    NOW,
    REASON,
    attempt_at,
    claim,
    content,
    draft,
    location,
    queued,
    task,
)

OWNERS = ("p1", "p2")
LIMITS = usage(total=300, staged=150, images=5, uploads=3)
SIZES = st.sampled_from([0, 1, 60, 100])


class Life(RuleBasedStateMachine):
    """Images, their blobs and accounts, and everything that may happen to them."""

    images = Bundle("images")
    work = Bundle("work")  # an image and a claim on it, also long after it ended
    sightings = Bundle("sightings")  # an image as it was seen once

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.stored: dict[str, Image] = {}
        self.blobs: dict[str, Blob] = {}
        self.accounts = {owner: Account(owner) for owner in OWNERS}
        self.doomed: set[str] = set()
        self.gone: set[str] = set()
        self.attempts = 0
        self.ended: dict[str, TaskStatus] = {}  # final statuses of tasks
        self.judged: dict[Claim, Formats] = {}  # as what the bytes of an attempt are looked at

    # what a catalog does

    def modify(self, image_id: str, change: Change) -> bool:
        """Make a change and what follows, or nothing of it; whether it was made."""
        before = self.stored[image_id]
        try:
            after = change(before)
            if after is before:
                return False
            rows = {key: self.blobs[key] for key in touched(before, after) if key in self.blobs}
            after, written = settle(before, after, rows, self.now)
            accounts = {
                owner: charge(self.accounts[owner], more, LIMITS)
                for owner, more in charges(before, after).items()
            }
        except ImagedError:
            return False
        if after.status is not before.status:
            event_between(before.status, after.status)
        assert after.version == before.version + 1
        self.note_end(before, after)
        self.stored[image_id] = without_ended_task(after)
        self.blobs |= {blob.key: blob for blob in written}
        self.accounts |= accounts
        return True

    def add(self, image: Image) -> Any:
        """Store a new image, if its project may have it; what the images bundle gets."""
        try:
            for owner, more in charges(None, image).items():
                self.accounts[owner] = charge(self.accounts[owner], more, LIMITS)
        except ImagedError:
            return multiple()
        self.stored[image.id] = created(image, self.now)
        return image.id

    def begin(self, image_id: str, change: ClaimedChange) -> Any:
        """Claim an image, if it can be; what the work bundle gets."""
        mine = claim(self.attempts)
        begun = self.modify(image_id, lambda image: change(image, mine))
        self.judged[mine] = self.stored[image_id].formats
        return (image_id, mine) if begun else multiple()

    def new_key(self) -> str:
        """A key that was never used."""
        self.attempts += 1
        return f"key-{self.attempts}"

    # what happens

    @rule(target=images, owner=st.sampled_from(OWNERS))
    def create(self, owner: str) -> Any:
        """A caller creates an image."""
        return self.add(queued(f"image-{len(self.stored)}", owner))

    @rule(target=images, owner=st.sampled_from(OWNERS))
    def asks_for_image(self, owner: str) -> Any:
        """A caller asks for a task that makes one."""
        name = f"image-{len(self.stored)}"
        made_by = task(f"task-{name}", type="import", owner=owner, max_attempts=2)
        return self.add(draft(name, owner, made_by))

    @rule(target=work, image_id=images, size_bytes=SIZES)
    def begins_upload(self, image_id: str, size_bytes: int) -> Any:
        """A client sends data."""
        return self.begin(image_id, uploading.begin_upload(location(self.new_key(), size_bytes)))

    @rule(target=work, image_id=images, size_bytes=SIZES)
    def begins_staging(self, image_id: str, size_bytes: int) -> Any:
        """A client stages data."""
        return self.begin(image_id, uploading.begin_staging(location(self.new_key(), size_bytes)))

    @rule(image_id=images)
    def begins_import(self, image_id: str) -> None:
        """A client asks for an import."""
        self.modify(image_id, uploading.begin_import(task(self.new_key(), max_attempts=2)))

    @rule(target=work, image_id=images, size_bytes=SIZES)
    def begins_attempt(self, image_id: str, size_bytes: int) -> Any:
        """A worker picks up a task."""
        return self.begin(image_id, attempt_at(location(self.new_key(), size_bytes)))

    @rule(mine=work, size_bytes=SIZES)
    def reserves(self, mine: tuple[str, Claim], size_bytes: int) -> None:
        """A body turns out longer."""
        self.holds_if_made(mine, growth.reserve(size_bytes))

    @rule(mine=work, size_bytes=SIZES)
    def finishes(self, mine: tuple[str, Claim], size_bytes: int) -> None:
        """A writer, perhaps one that was taken for dead, says that its bytes are whole."""
        is_staging = self.stored[mine[0]].status is Status.UPLOADING
        done = (uploading.stage_data if is_staging else uploading.store_data)(content(size_bytes))
        made = self.holds_if_made(mine, unless_formats_changed(self.judged[mine[1]], done))
        assert not made or self.stored[mine[0]].formats == self.judged[mine[1]]

    @rule(mine=work, source_id=images)
    def finishes_clone(self, mine: tuple[str, Claim], source_id: str) -> None:
        """A worker shares the bytes of another image."""
        source = self.stored[source_id]
        if source.status in RESTORE_EVENTS and self.stored[mine[0]].status is Status.IMPORTING:
            made = self.holds_if_made(mine, uploading.share_to_finish(source))
            assert not made or self.stored[mine[0]].formats == source.formats

    @rule(mine=work, final=st.booleans(), kill=st.booleans(), counts=st.booleans())
    def gives_back(self, mine: tuple[str, Claim], final: bool, kill: bool, counts: bool) -> None:
        """A writer fails or is stopped, or a reclaimer finds its lease over."""
        change = uploading.give_back(mine[1], REASON, final=final, kill=kill, counts=counts)
        self.holds_if_made(mine, lambda image, _: change(image))

    @rule(image_id=images)
    def cancels(self, image_id: str) -> None:
        """A caller ends the task, waiting or worked on."""
        self.modify(image_id, uploading.change_task(lambda task: cancel(task, REASON)))

    @rule(target=sightings, image_id=images)
    def looks(self, image_id: str) -> Image:
        """A loop sees an image, and will act on it later."""
        return self.stored[image_id]

    @rule(seen=sightings)
    def unstages(self, seen: Image) -> None:
        """Staged data was not imported in time."""
        self.modify(seen.id, uploading.unstage(seen))

    @rule(image_id=images, source_id=images)
    def clones(self, image_id: str, source_id: str) -> None:
        """An image becomes a clone of one that was readable."""
        source = self.stored[source_id]
        if source.status in RESTORE_EVENTS:
            self.modify(image_id, uploading.share_data(source))

    @rule(image_id=images, seen=sightings)
    def clones_late(self, image_id: str, seen: Image) -> None:
        """… of one that may have gone since it was looked at."""
        if seen.status in RESTORE_EVENTS:
            self.modify(image_id, uploading.share_data(seen))

    @rule(image_id=images, change=st.sampled_from([deactivate, reactivate, restore]))
    def is_told(self, image_id: str, change: Change) -> None:
        """An admin deactivates, reactivates or restores."""
        self.modify(image_id, change)

    @rule(image_id=images, owner=st.sampled_from(OWNERS))
    def is_given_away(self, image_id: str, owner: str) -> None:
        """An admin gives an image to another project."""
        self.modify(image_id, lambda image: replace(image, owner=owner))

    @rule(image_id=images, disk=st.sampled_from(["raw", "qcow2"]))
    def is_patched(self, image_id: str, disk: str) -> None:
        """Its owner corrects a format, also while its data is being imported."""
        if may_change_formats(self.stored[image_id]):
            self.modify(image_id, lambda image: replace(image, disk_format=disk))

    @rule(image_id=images, delayed=st.booleans())
    def deletes(self, image_id: str, delayed: bool) -> None:
        """Its owner deletes it."""
        self.modify(image_id, delete(delayed=delayed))

    @rule(seen=sightings)
    def expires(self, seen: Image) -> None:
        """Its delay was over at the next scrub."""
        if seen.status is Status.PENDING_DELETE and not seen.is_expired:
            self.modify(seen.id, expire(seen))

    @rule()
    def scrubs(self) -> None:
        """A scrubber works off what is due."""
        due = [b.key for b in self.blobs.values() if b.due_at is not None and b.due_at <= self.now]
        for key in due:
            self.forget(key)

    @rule(seconds=st.sampled_from([1, 60, 3600]))
    def time_passes(self, seconds: int) -> None:
        """The catalog's clock goes on."""
        self.now += timedelta(seconds=seconds)

    def holds_if_made(self, mine: tuple[str, Claim], change: ClaimedChange) -> bool:
        """A change of claimed work is made by the holder of the standing claim only."""
        image_id, token = mine
        held = self.stored[image_id].claim == token
        made = self.modify(image_id, lambda image: change(image, token))
        assert held or not made
        return made

    def note_end(self, before: Image, after: Image) -> None:
        """A task ends once, and the image with it."""
        if after.task is not None and after.task.is_final and after.task != before.task:
            assert after.task.id not in self.ended
            assert after.task.expires_at == self.now + after.task.keep_for
            self.ended[after.task.id] = after.task.status
            succeeded = after.task.status is TaskStatus.SUCCESS
            assert succeeded == (after.status is Status.ACTIVE)

    def forget(self, key: str) -> None:
        """Bytes are gone: the row leaves, and perhaps a record goes with it."""
        blob = self.blobs.pop(key)
        self.gone.add(key)
        if blob.awaited_by is not None:
            before = self.stored[blob.awaited_by]
            self.stored[before.id] = settle_scrubbed(before, key, self.now)

    # what is always true

    @invariant()
    def every_holder_is_counted(self) -> None:
        """Each row knows how many images need its bytes, and what is needed has a row."""
        holders = Counter(key for image in self.stored.values() for key in image.held)

        assert holders == Counter({b.key: b.holders for b in self.blobs.values() if b.holders})

    @invariant()
    def doomed_is_without_holders_and_due(self) -> None:
        """The three are one."""
        for blob in self.blobs.values():
            assert (blob.state is BlobState.DOOMED) == (blob.holders == 0)
            assert (blob.state is BlobState.DOOMED) == (blob.due_at is not None)

    @invariant()
    def doomed_is_final(self) -> None:
        """What was doomed once is doomed or gone, and what is gone has no row again."""
        now_doomed = {b.key for b in self.blobs.values() if b.state is BlobState.DOOMED}
        self.doomed |= now_doomed

        assert self.doomed == now_doomed | self.gone
        assert not self.gone & self.blobs.keys()

    @invariant()
    def accounts_add_up(self) -> None:
        """Each project is charged for what its images hold, and never beyond its limit."""
        for owner, account in self.accounts.items():
            used = usage_by_owner(self.stored.values()).get(owner, usage())
            assert account.usage == used
            assert all(used[name] <= LIMITS[name] for name in Resource)

    @invariant()
    def claims_stand_where_they_may(self) -> None:
        """Saving is always claimed; importing exactly while its task is worked on. No other image
        has a task.
        """
        for image in self.stored.values():
            assert image.claim is None or image.status in FAILURE_EVENTS
            assert image.claim is not None or image.status is not Status.SAVING
            assert (image.task is not None) == (image.status is Status.IMPORTING)
            if image.status is Status.IMPORTING:
                working = image.claim is not None
                assert image.task is not None
                assert image.task.status is (
                    TaskStatus.PROCESSING if working else TaskStatus.PENDING
                )

    @invariant()
    def drafts_are_made_or_never_were(self) -> None:
        """A draft waits for its task, or is deleted."""
        for image in self.stored.values():
            if image.draft:
                assert image.status in {Status.IMPORTING, Status.DELETED}

    @invariant()
    def only_claimed_bytes_are_being_written(self) -> None:
        """Bytes are unfinished exactly as long as a claim stands on their one holder."""
        for image in self.stored.values():
            for key, place in image.held.items():
                blob = self.blobs[key]
                assert blob.state is not BlobState.DOOMED
                assert blob.size_bytes == place.size_bytes
                if blob.state is BlobState.WRITING:
                    assert image.claim is not None
                    assert blob.holders == 1

    @invariant()
    def complete_images_have_complete_bytes(self) -> None:
        """What can be read, or restored to be read, is whole."""
        for image in self.stored.values():
            if image.status in RESTORE_EVENTS or image.deleted_from is not None:
                assert image.content is not None
                assert image.locations
                for place in image.locations:
                    assert self.blobs[place.key].state is BlobState.KEPT
                    assert place.size_bytes == image.content.size_bytes

    @invariant()
    def some_statuses_hold_nothing(self) -> None:
        """Queued, killed and deleted images have no bytes anywhere."""
        for image in self.stored.values():
            if image.status in {Status.QUEUED, Status.KILLED, Status.DELETED}:
                assert not image.locations
                assert image.staged is None
                assert image.claim is None

    @invariant()
    def an_expired_image_waits_for_something(self) -> None:
        """Each of its locations is a doomed blob that knows of it, and there is one at least."""
        for image in self.stored.values():
            if image.is_expired:
                assert image.locations
                for place in image.locations:
                    assert self.blobs[place.key].awaited_by == image.id

    def teardown(self) -> None:
        """Whatever happened: when all is deleted and scrubbed, nothing is left."""
        for image_id in self.stored:
            self.modify(image_id, delete(delayed=False))
            self.modify(image_id, expire(self.stored[image_id]))
        self.now += LEASE
        self.scrubs()

        assert not self.blobs
        assert {image.status for image in self.stored.values()} <= {Status.DELETED}
        assert all(account.usage == usage() for account in self.accounts.values())


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase
