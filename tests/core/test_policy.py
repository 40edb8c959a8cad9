"""Tables of rules: what they permit, and what is wrong with them."""

from __future__ import annotations

import pytest

from imaged.core.access import Caller
from imaged.core.policy import InvalidRule, Policy
from imaged.core.policy_rules import Rule

MEMBER = Caller("u1", "p1", frozenset({"member"}))

#: A rule, the column of its mistake, and words of the sentence about it.
MISTAKES = [
    ("  ", 1, "consists of blanks: write @"),
    ("role:admin or", 14, "a check is missing before the end"),
    ("or role:admin", 1, "a check is missing before 'or'"),
    ("role:admin and or role:x", 16, "a check is missing before 'or'"),
    ("()", 2, "a check is missing before ')'"),
    ("not", 4, "a check is missing before the end"),
    ("(role:admin", 1, "this parenthesis is not closed"),
    ("role:admin)", 11, "this parenthesis closes none"),
    ("(role:a role:b)", 9, "'and' or 'or' is missing before 'role:b'"),
    ("role:a role:b", 8, "'and' or 'or' is missing before 'role:b'"),
    ("role:a and(role:b)", 8, "'and' or 'or' is missing before 'and(role:b'"),
    ("not(role:a)", 4, "a blank is missing between 'not' and '('"),
    ("admin", 1, "'admin' is no check; checks are like role:member, @ and !"),
    ("role:", 6, "a text without quotes must follow role:"),
    ("role:'admin'", 6, "a text without quotes must follow role:"),
    ("'a b':%(name)s", 1, "a literal has no blanks, and a colon follows it"),
    ("is_admin:1", 10, "is_admin can be compared with True and False"),
    ("tenant_id:%(owner)s", 1, "is no credential of a token; did you mean 'project_id'?"),
    ("project_ids:%(owner)s", 1, "did you mean 'project_id'?"),
    ("zzz:%(owner)s", 1, "known are user_id, "),
    ("http://host/check", 1, "checks that ask another service are not supported"),
    ("project_id:50%", 14, "'%' must begin an attribute, as in %(owner)s"),
    ("project_id:%(owner)d", 12, "'%' must begin an attribute"),
    ("rule:admin_or_ownr", 6, "there is no rule 'admin_or_ownr'; did you mean 'admin_or_owner'?"),
    ("rule:modify_image", 6, "it refers to itself: modify_image → modify_image"),
    ("(" * 60 + "@" + ")" * 60, 51, "it is nested more than 50 times"),
]


@pytest.mark.parametrize(("text", "column", "words"), MISTAKES)
def test_a_mistake_has_a_column_and_a_sentence(text: str, column: int, words: str) -> None:
    """Of the rule that has it."""
    with pytest.raises(InvalidRule) as caught:
        Policy(
            {
                "modify_image": text,
                "admin_or_owner": "role:admin",
                "get_image": "rule:admin_or_owner",
            }
        )

    assert (caught.value.rule, caught.value.column) == ("modify_image", column), caught.value
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "rule", "words"),
    [
        ({"get_imge": "@"}, "get_imge", "did you mean 'get_image'?"),
        ({"owner": "@"}, "owner", "no call asks for it and no rule refers to it"),
        ({"a": "rule:b", "b": "not rule:a", "get_image": "rule:a"}, "b", "a → b → a"),
        ({"context_is_admin": "is_admin:True"}, "context_is_admin", "is_admin needs the rule"),
        ({"context_is_admin": "rule:modify_image"}, "modify_image", "it refers to itself"),
    ],
)
def test_rules_that_do_not_go_together(rules: dict[str, str], rule: str, words: str) -> None:
    """Names that no call knows, and circles."""
    with pytest.raises(InvalidRule, match=words.replace("?", r"\?")) as caught:
        Policy(rules)
    assert caught.value.rule == rule


def test_a_file_for_glance_may_have_its_other_rules() -> None:
    """Those of calls that imaged does not have; others may refer to them."""
    policy = Policy(
        {
            "copy_image": "rule:owner",
            "owner": "project_id:%(owner)s",
            "get_metadef_namespace": "rule:metadef_admin",
            "metadef_admin": "role:admin",
            "default": "!",
            "get_image": "rule:default",
        }
    )
    assert not policy.permits(Rule.GET_IMAGE, MEMBER, {})


@pytest.mark.parametrize("caller", ["is_system", "domain"])
def test_a_token_of_another_scope_may_do_nothing(caller: str) -> None:
    """Not even what is permitted to all."""
    scope: dict[str, str | bool] = {"is_system": True} if caller == "is_system" else {"domain": "d"}
    policy = Policy({"get_images": "@"})
    scoped = Caller("u", "", frozenset({"admin"}), policy=policy, **scope)  # type: ignore[arg-type]

    assert policy.permits(Rule.GET_IMAGES, MEMBER)
    assert not policy.permits(Rule.GET_IMAGES, scoped)
    assert not policy.may_permit(Rule.GET_IMAGES, scoped)
    assert scoped.is_admin


def test_the_case_of_a_role_does_not_matter() -> None:
    """In the token, in a rule, and in the attribute that a rule names, as in Glance."""
    policy = Policy({"get_image": "role:AUDITOR", "delete_image": "role:%(team)s"})
    caller = Caller("u1", "p1", frozenset({"Auditor"}), policy=policy)

    assert policy.permits(Rule.GET_IMAGE, caller)
    assert policy.permits(Rule.DELETE_IMAGE, caller, {"team": "auditOR"})
    assert not policy.permits(Rule.DELETE_IMAGE, caller, {"team": "auditors"})
    assert "auditor" in policy.roles


@pytest.mark.parametrize(("project", "may"), [("p1", True), ("", False)])
def test_a_credential_that_a_token_lacks_equals_no_attribute(project: str, may: bool) -> None:
    """Not even an empty one, and no caller without it may make the call on any target."""
    policy = Policy({"get_image": "project_id:%(owner)s"})
    caller = Caller("u1", project, frozenset(), policy=policy)

    assert policy.may_permit(Rule.GET_IMAGE, caller) is may
    assert policy.permits(Rule.GET_IMAGE, caller, {"owner": project}) is may
