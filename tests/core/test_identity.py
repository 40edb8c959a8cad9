"""Documents of tokens, and the access rules in them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.identity import (
    MAX_MATCHED_PATH,
    AccessRule,
    Identity,
    TokenDocumentInvalid,
    parse_identity,
)

DOMAIN = {"id": "default", "name": "Default"}
USER = {"id": "ann", "name": "Ann", "domain": DOMAIN}
PROJECT = {"id": "p1", "name": "web", "domain": {"id": "d2", "name": "Two"}}
ROLES = [{"id": "1", "name": "reader"}, {"id": "2", "name": "member"}]
UNSCOPED = {
    "methods": ["password"],
    "user": USER,
    "issued_at": "2026-11-29T19:04:50.000000Z",
    "expires_at": "2026-11-29T20:04:49.000000Z",
}
RULE = {"id": "1", "service": "image", "method": "GET", "path": "/v2/images"}


def parsed(**changes: Any) -> Identity:
    """The identity of a token without a scope, with these fields more."""
    return parse_identity({"token": UNSCOPED | changes})


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, {}),
        (
            {"project": PROJECT, "roles": ROLES, "is_domain": False},
            {
                "project": "p1",
                "project_domain": "d2",
                "roles": frozenset({"member", "reader"}),
            },
        ),
        ({"domain": DOMAIN, "roles": ROLES[:1]}, {"domain": "default", "roles": {"reader"}}),
        ({"system": {"all": True}, "roles": ROLES[:1]}, {"is_system": True, "roles": {"reader"}}),
        ({"system": {}}, {}),
        (
            {
                "project": PROJECT,
                "roles": ROLES[:1],
                "OS-TRUST:trust": {"id": "t", "impersonation": True},
            },
            {"project": "p1", "project_domain": "d2", "roles": {"reader"}},
        ),
        ({"user": USER | {"OS-FEDERATION": {"groups": []}}}, {}),
        ({"application_credential": {"id": "a", "restricted": True}}, {}),
        (
            {"application_credential": {"id": "a", "access_rules": [RULE]}},
            {"access_rules": (AccessRule("image", "GET", "/v2/images"),)},
        ),
        ({"application_credential": {"id": "a", "access_rules": []}}, {"access_rules": ()}),
    ],
)
def test_what_a_token_says(scope: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each kind of token: what it has, and nothing that it has not."""
    nothing: dict[str, Any] = {
        "user": "ann",
        "user_domain": "default",
        "roles": frozenset(),
        "issued_at": datetime(2026, 11, 29, 19, 4, 50, tzinfo=UTC),
        "expires_at": datetime(2026, 11, 29, 20, 4, 49, tzinfo=UTC),
    }

    assert parsed(**scope) == Identity(**nothing | expected)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"token": None},
        {"token": []},
        {"token": UNSCOPED | {"user": None}},
        {"token": UNSCOPED | {"user": {"id": 7}}},
        {"token": UNSCOPED | {"user": {"id": ""}}},
        {"token": UNSCOPED | {"user": {"id": "x" * 256}}},
        {"token": UNSCOPED | {"roles": "admin"}},
        {"token": UNSCOPED | {"roles": [{"id": "1"}]}},
        {"token": UNSCOPED | {"roles": ["admin"]}},
        {"token": UNSCOPED | {"roles": ROLES * 200}},
        {"token": UNSCOPED | {"project": {}}},
        {"token": UNSCOPED | {"project": "p1"}},
        {"token": UNSCOPED | {"domain": {"name": "d"}}},
        {"token": UNSCOPED | {"expires_at": "tomorrow"}},
        {"token": UNSCOPED | {"expires_at": None}},
        {"token": {"user": USER}},
        {"token": UNSCOPED | {"application_credential": {"access_rules": None}}},
        {"token": UNSCOPED | {"application_credential": {"access_rules": [{"path": "/"}]}}},
    ],
)
def test_what_is_no_token(document: object) -> None:
    """It is not taken for a token with less."""
    with pytest.raises(TokenDocumentInvalid):
        parse_identity(document)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/v2/images", "/v2/images", True),
        ("/v2/images", "/v2/images/", False),
        ("/v2/images", "/V2/images", False),
        ("/v2/images/*", "/v2/images/1", True),
        ("/v2/images/*", "/v2/images/", False),
        ("/v2/images/*", "/v2/images/1/file", False),
        ("/v2/images/{image_id}", "/v2/images/1", True),
        ("/v2/images/{image_id}/file", "/v2/images/1/file", True),
        ("/v2/images/{image_id}/file", "/v2/images/1/2/file", False),
        ("/v2/images/**", "/v2/images/1/file", True),
        ("/v2/images/**", "/v2/images/", True),
        ("/v2/images/**", "/v2/images", False),
        ("/v2/images**", "/v2/images", True),
        ("**", "/v2/images", True),
        ("/**/file", "/v2/images/1/file", True),
        ("/**/file", "/v2/images/1/files", False),
        ("/v2/im*s", "/v2/images", True),
        ("/v2/im*s", "/v2/imagesss", True),
        ("/v2.images", "/v2/images", False),
        ("/v2/images?", "/v2/images", False),
        ("/v2/{images", "/v2/images", False),
        ("/v2/{images", "/v2/{images", False),
        ("", "", True),
        ("**", "/" * (MAX_MATCHED_PATH + 1), False),
    ],
)
def test_paths_of_access_rules(pattern: str, path: str, *, expected: bool) -> None:
    """By the rules of Keystone's documentation; everything else in a pattern stands for itself."""
    assert AccessRule("image", "GET", pattern).allows("image", "GET", path) is expected


def test_a_rule_is_for_one_service_and_method() -> None:
    """Those of another service do not count here, and a token without rules is not restricted."""
    restricted = parsed(
        application_credential={
            "access_rules": [RULE, RULE | {"service": "compute", "path": "/v2/tasks"}]
        }
    )
    nothing = parsed(application_credential={"access_rules": []})

    assert restricted.may_call("GET", "/v2/images")
    assert not restricted.may_call("POST", "/v2/images")
    assert not restricted.may_call("GET", "/v2/tasks")
    assert not nothing.may_call("GET", "/v2/images")
    assert parsed().may_call("DELETE", "/v2/images/1")


@given(st.lists(st.sampled_from(["**", "*", "{a}", "/", "a", "b"])), st.text("ab/", max_size=12))
def test_patterns_match_as_expressions_do(pieces: list[str], path: str) -> None:
    """Those that `re` understands, where no backtracking is long."""
    pattern = "".join(pieces)
    while "***" in pattern:
        pattern = pattern.replace("***", "**")
    known = {"**": ".*", "*": "[^/]+", "{a}": "[^/]+"}
    expression = re.sub(r"\*\*|\*|\{a\}", lambda found: known[found[0]], pattern)

    matches = AccessRule("image", "GET", pattern).allows("image", "GET", path)

    assert matches is bool(re.fullmatch(expression, path))


def test_no_pattern_takes_long() -> None:
    """The one that makes an expression backtrack ends within the test's time."""
    rule = AccessRule("image", "GET", "**a" * 80)

    assert not rule.allows("image", "GET", "a" * 79 + "b" * (MAX_MATCHED_PATH - 79))
