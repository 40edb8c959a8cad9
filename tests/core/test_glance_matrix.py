"""The matrix of permissions: every cell agrees with Glance 33's default policies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, TypedDict

import pytest

from imaged.core.access import (
    Caller,
    require_known_role,
    require_list,
    require_new,
    require_permitted,
    require_store_details,
    require_visibility,
)
from imaged.core.errors import ImagedError
from imaged.core.image import Image, Visibility
from imaged.core.member import Member, MemberStatus
from imaged.core.policy import Policy
from imaged.core.policy_rules import (
    ADMIN,
    DEFAULT_RULES,
    UNUSED_PREFIX,
    UNUSED_RULES,
    Rule,
)
from imaged.core.sharing import add_member, answer, members_seen_by, remove_member
from imaged.core.task_access import require_tasks
from support.glance_policies import RECORD, Glance, Subject, Token

OWNER, OTHER = "p1", "p2"


class Scope(TypedDict, total=False):
    """What a token is for."""

    project: str
    domain: str
    is_system: bool


ROLES = (
    (),
    ("visitor",),
    ("reader",),
    ("member",),
    ("reader", "member"),
    ("reader", "member", "manager"),
    ("reader", "member", "manager", "admin"),
    ("Admin",),
    ("service",),
    ("service", "reader"),
)
SCOPES: tuple[Scope, ...] = (
    {"project": OWNER},
    {"project": OTHER},
    {"domain": "d1"},
    {"is_system": True},
)
#: Keystone gives no roles to a token without a scope.
TOKENS = [Token(())] + [Token(roles, **scope) for roles, scope in product(ROLES, SCOPES)]
SUBJECTS = [
    Subject(OWNER, visibility, members)
    for visibility in Visibility
    for members in ((), (OTHER,))
    if visibility is Visibility.SHARED or not members
]
#: Calls on an image that exists, by the rule that is asked.
ON_IMAGES = (
    Rule.GET_IMAGE,
    Rule.MODIFY_IMAGE,
    Rule.DELETE_IMAGE,
    Rule.UPLOAD_IMAGE,
    Rule.DOWNLOAD_IMAGE,
    Rule.DEACTIVATE,
    Rule.REACTIVATE,
    Rule.ADD_IMAGE_LOCATION,
)
#: Visibilities that a rule of their own permits.
PUBLISHING = {
    Rule.PUBLICIZE_IMAGE: Visibility.PUBLIC,
    Rule.COMMUNITIZE_IMAGE: Visibility.COMMUNITY,
}

#: Calls about the member of the project ``OTHER``, with the rules that they ask in turn.
ON_MEMBERS: Mapping[tuple[Rule, ...], Callable[[Caller, Image], object]] = {
    (Rule.ADD_MEMBER,): lambda caller, image: add_member(caller, "p3", None)(image),
    (Rule.GET_MEMBERS,): members_seen_by,
    (Rule.GET_MEMBER, Rule.MODIFY_MEMBER): lambda caller, image: answer(
        caller, OTHER, MemberStatus.ACCEPTED
    )(image),
    (Rule.GET_MEMBER, Rule.DELETE_MEMBER): lambda caller, image: remove_member(caller, OTHER)(
        image
    ),
}

#: Only policy files refer to it.
NOT_ASKED = {"default"}

#: Its name, the call under a policy, and the status of Glance.
Cell = tuple[str, Callable[[Policy], object], int]


def cells(glance: Glance) -> Iterator[Cell]:
    """Every cell of the matrix."""
    for token in TOKENS:
        yield from _cells_without_images(glance, token)
        for subject in SUBJECTS:
            yield from _cells_of_images(glance, token, subject)
            yield from _cells_of_new_images(glance, token, subject)
            if subject.members or subject.visibility is not Visibility.SHARED:
                yield from _cells_of_members(glance, token, subject)


def _cells_without_images(glance: Glance, token: Token) -> Iterator[Cell]:
    own = {"project_id": token.project or None}
    calls: Mapping[Rule, Callable[[Caller], object]] = {
        Rule.GET_IMAGES: require_list,
        Rule.TASKS_API_ACCESS: require_tasks,
        Rule.STORES_INFO_DETAIL: require_store_details,
    }
    for rule, call in calls.items():
        status = 200 if glance.permits(rule, token, own) else 403
        yield f"{rule} {token}", partial(_ask, token, call), status


def _cells_of_images(glance: Glance, token: Token, subject: Subject) -> Iterator[Cell]:
    image = _image(subject)
    for rule in ON_IMAGES:
        call = partial(_ask, token, require_permitted, rule, image)
        yield f"{rule} {token} {subject}", call, glance.answer(rule, token, subject)
    for rule, visibility in PUBLISHING.items():
        call = partial(_ask, token, _publish, image, visibility)
        yield f"{rule} {token} {subject}", call, glance.answer_to_publishing(rule, token, subject)


def _cells_of_new_images(glance: Glance, token: Token, subject: Subject) -> Iterator[Cell]:
    call = partial(_ask, token, require_new, _image(subject))
    yield f"add_image {token} {subject}", call, glance.answer_to_creation(token, subject)


def _cells_of_members(glance: Glance, token: Token, subject: Subject) -> Iterator[Cell]:
    for rules, call in ON_MEMBERS.items():
        name = f"{'+'.join(rules)} {token} {subject}"
        asked = partial(_ask, token, call, _image(subject))
        yield name, asked, glance.answer_about_members(rules, token, subject)


def _image(subject: Subject) -> Image:
    members = {project: Member(project) for project in subject.members}
    return Image(id="i1", owner=subject.owner, visibility=subject.visibility, members=members)


def _publish(caller: Caller, image: Image, visibility: Visibility) -> None:
    require_permitted(caller, Rule.MODIFY_IMAGE, image)
    require_visibility(caller, image, visibility)


def _ask(token: Token, call: Callable[..., object], *arguments: Any) -> None:
    *about, policy = arguments
    caller = Caller(
        "u",
        token.project,
        frozenset(token.roles),
        domain=token.domain,
        is_system=token.is_system,
        policy=policy,
    )
    require_known_role(caller)
    call(caller, *about)


def status_of(call: Callable[[Policy], object], policy: Policy) -> int:
    """The status that the call is answered with."""
    try:
        call(policy)
    except ImagedError as error:
        return error.http_status or 500
    return 200


def differences(matrix: Sequence[Cell], policy: Policy) -> list[str]:
    """The cells with another answer than Glance's.

    One thing is told apart here that Glance does not: a caller without any known role is 403 for
    every call, before it is known whether the image exists.
    """
    found = []
    for name, call, status in matrix:
        is_unknown = "roles=()" in name or "visitor" in name
        expected = 403 if is_unknown and status == 404 else status
        if (got := status_of(call, policy)) != expected:
            found.append(f"{name}: {got}, and {expected} in Glance")
    return found


@pytest.fixture(scope="module")
def matrix() -> Sequence[Cell]:
    """All cells, with what oslo.policy decides by Glance's rules."""
    return list(cells(Glance()))


def as_in_glance(**replaced: str) -> Policy:
    """The default rules with `tasks.access = "admins"`, which is what Glance has."""
    return Policy({Rule.TASKS_API_ACCESS: ADMIN, **replaced})


def test_every_cell_agrees_with_glance(matrix: Sequence[Cell]) -> None:
    """Role, call, visibility, ownership, membership and scope."""
    assert len(matrix) > 1000
    assert {status for _, _, status in matrix} == {200, 403, 404}
    assert differences(matrix, as_in_glance()) == []


@pytest.mark.parametrize("rule", [rule for rule in DEFAULT_RULES if rule not in NOT_ASKED])
@pytest.mark.parametrize("removed", ["@", "!"])
def test_without_a_rule_a_cell_differs(matrix: Sequence[Cell], rule: str, removed: str) -> None:
    """Each rule holds cells of the matrix: without it, calls are permitted or are refused."""
    assert differences(matrix, as_in_glance(**{rule: removed})) != []


def test_the_rules_are_those_of_glance() -> None:
    """Each default has the words of Glance's, but for tasks, where a setting decides."""
    recorded = json.loads(RECORD.read_text())
    differing = {name for name, text in DEFAULT_RULES.items() if recorded[name]["check"] != text}

    assert differing == {Rule.TASKS_API_ACCESS}
    assert recorded[Rule.TASKS_API_ACCESS]["check"] == ADMIN
    assert all(recorded[rule]["scopes"] == ["project"] for rule in Rule)
    unused = recorded.keys() - DEFAULT_RULES.keys()
    assert {name for name in unused if UNUSED_PREFIX not in name} == UNUSED_RULES
