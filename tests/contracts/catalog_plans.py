"""Lists that both databases answer with an index: each with the index that it must use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from imaged.core.access import Caller
from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import Status
from imaged.core.member import MemberStatus
from imaged.core.query import Column, Condition, ImageQuery, Operator, Order
from imaged.core.task import created
from support.sample_images import task

MEMBER = Caller("u", "owner7", frozenset({"member"}))
ADMIN = Caller("u", "owner7", frozenset({"admin"}))
LAST = Image(id="x", owner="p", name="n", created_at=datetime.now(UTC) - timedelta(days=3))
LAST_TASK = created(task("t"), datetime(2026, 1, 1, tzinfo=UTC))
STAGED = Condition(Column.STATUS, Operator.EQUAL, Status.UPLOADING)
UNFINISHED = Condition(Column.STATUS, Operator.ONE_OF, (Status.UPLOADING, Status.SAVING))
ACTIVE = Condition(Column.STATUS, Operator.EQUAL, Status.ACTIVE)
MINE = Condition(Column.OWNER, Operator.EQUAL, "owner7")
NAMED = Condition(Column.NAME, Operator.EQUAL, "name7")

LISTS = {
    "operator": (ImageQuery(), "images_created"),
    "operator, next page": (ImageQuery(after=LAST), "images_created"),
    "oldest first": (ImageQuery(order=(Order(Column.CREATED_AT),)), "images_created"),
    "admin": (ImageQuery(caller=ADMIN), "images_created"),
    "admin, next page": (ImageQuery(caller=ADMIN, after=LAST), "images_created"),
    "admin, behind an id": (ImageQuery(caller=ADMIN, after_id="image7"), "images_created"),
    "member, behind an id": (ImageQuery(caller=MEMBER, after_id="image7"), "images_owner"),
    "member": (ImageQuery(caller=MEMBER), "images_owner"),
    "member, next page": (ImageQuery(caller=MEMBER, after=LAST), "images_owner"),
    "member, public": (ImageQuery(caller=MEMBER), "images_visibility"),
    "member, shared": (ImageQuery(caller=MEMBER), "image_members_member"),
    "member, shared and pending": (
        ImageQuery(caller=MEMBER, visibility=Visibility.SHARED, member_status=MemberStatus.PENDING),
        "image_members_member",
    ),
    "member, shared, any answer": (
        ImageQuery(
            caller=MEMBER,
            visibility=Visibility.SHARED,
            member_status=None,
            conditions=(ACTIVE,),
            after=LAST,
        ),
        "image_members_member",
    ),
    "member, any answer, by name": (
        ImageQuery(caller=MEMBER, member_status=None, order=(Order(Column.NAME),)),
        "image_members_member",
    ),
    "one status": (ImageQuery(conditions=(STAGED,)), "images_status"),
    "some statuses": (ImageQuery(conditions=(UNFINISHED,)), "images_status"),
    "one owner": (ImageQuery(conditions=(MINE,)), "images_owner"),
    "one visibility": (ImageQuery(visibility=Visibility.PUBLIC), "images_visibility"),
    "by name": (ImageQuery(order=(Order(Column.NAME),)), "images_name"),
    "by name, backwards": (ImageQuery(order=(Order(Column.NAME, True),)), "images_name"),
    "one name": (ImageQuery(conditions=(NAMED,)), "images_name"),
    "a tag": (ImageQuery(tags=("tag3one",)), "image_tags_tag"),
    "tags": (ImageQuery(tags=("tag3one", "tag3two")), "image_tags_tag"),
    "a property": (ImageQuery(properties=(("k", "vimage7"),)), "image_properties_value"),
    "properties": (
        ImageQuery(properties=(("k", "vimage7"), ("l", "vimage7"))),
        "image_properties_value",
    ),
}
