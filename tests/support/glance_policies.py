"""Glance 33 as an oracle of permissions: its default rules, evaluated by oslo.policy.

``glance_33_policies.json`` has the rules of its package (name, rule, scopes); what Glance does with
them, in ``ImageAPIPolicy`` and below it in its catalog, is here in other words.
`make test-clients` compares the file with the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_policy import policy as oslo

from imaged.core.image import Visibility

#: The rules that a visibility needs beside the others.
PUBLISHING = {
    Visibility.PUBLIC: ["publicize_image"],
    Visibility.COMMUNITY: ["communitize_image"],
}

RECORD = Path(__file__).with_name("glance_33_policies.json")


@dataclass(frozen=True)
class Token:
    """A token, as Keystone describes it."""

    roles: tuple[str, ...]
    project: str = ""
    domain: str = ""
    is_system: bool = False


@dataclass(frozen=True)
class Subject:
    """The image of a call: its owner, its visibility, and the projects that are its members."""

    owner: str
    visibility: Visibility
    members: tuple[str, ...] = ()


class Glance:
    """Answers which status a call gets, as Glance 33 with its default settings."""

    def __init__(self) -> None:
        self._enforcer = oslo.Enforcer(cfg.ConfigOpts(), use_conf=False)
        recorded: Mapping[str, Any] = json.loads(RECORD.read_text())
        rules = [
            oslo.RuleDefault(name, rule["check"], scope_types=rule["scopes"] or None)
            for name, rule in recorded.items()
        ]
        self._enforcer.register_defaults(rules)  # with their scopes
        self._enforcer.set_rules({rule.name: rule.check for rule in rules})

    def permits(self, rule: str, token: Token, target: Mapping[str, object]) -> bool:
        """The decision of one rule."""
        credentials = {
            "roles": list(token.roles),
            "project_id": token.project or None,
            "domain_id": token.domain or None,
            "system_scope": "all" if token.is_system else None,
        }
        return bool(self._enforcer.enforce(rule, target, credentials))

    def answer(self, rule: str, token: Token, subject: Subject) -> int:
        """200, 403 or 404 for a call on an image that exists."""
        if not self._is_found(token, subject):
            return 404
        target = _target(token, subject)
        if self.permits(rule, token, target):
            return 200
        return 403 if self.permits("get_image", token, target) else 404

    def answer_to_publishing(self, rule: str, token: Token, subject: Subject) -> int:
        """The status of a patch of the visibility that this rule permits.

        Glance asks that rule before ``modify_image``, and says 403 also about an image that the
        token may not show.
        """
        answer = self.answer("modify_image", token, subject)
        if answer == HTTPStatus.OK and not self.permits(rule, token, _target(token, subject)):
            return 403
        return answer

    def answer_to_creation(self, token: Token, subject: Subject) -> int:
        """The status of the creation of such an image."""
        rules = ["add_image", *PUBLISHING.get(subject.visibility, ())]
        target = {**_target(token, subject), "member_id": None}
        is_permitted = all(self.permits(rule, token, target) for rule in rules)
        return 200 if is_permitted else 403

    def answer_about_members(self, rules: Sequence[str], token: Token, subject: Subject) -> int:
        """The status of a call about the members of an image, which asks these rules in turn.

        Glance says 403 about an image that is not shared before it asks whether the token may show
        it.
        """
        answer = self.answer("get_image", token, subject)
        if answer != HTTPStatus.OK:
            return answer
        target = _target(token, subject)
        is_shared = subject.visibility is Visibility.SHARED
        is_permitted = all(self.permits(rule, token, target) for rule in rules)
        return 200 if is_shared and is_permitted else 403

    def _is_found(self, token: Token, subject: Subject) -> bool:
        """Whether the query of its catalog finds the image."""
        return (
            self.permits("context_is_admin", token, {})
            or subject.visibility in {Visibility.PUBLIC, Visibility.COMMUNITY}
            or (token.project != "" and token.project == subject.owner)
            or (subject.visibility is Visibility.SHARED and token.project in subject.members)
        )


def _target(token: Token, subject: Subject) -> Mapping[str, object]:
    is_shared = subject.visibility is Visibility.SHARED and token.project != subject.owner
    return {
        "project_id": subject.owner,
        "owner": subject.owner,
        "visibility": str(subject.visibility),
        "member_id": token.project if is_shared and token.project else None,
    }
