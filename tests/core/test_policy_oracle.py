"""Property tests: the policy language decides as oslo.policy does."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st
from oslo_config import cfg
from oslo_policy import policy as oslo

from imaged.core.access import Caller
from imaged.core.policy import Policy
from imaged.core.policy_parser import InvalidExpression, parse_rule
from imaged.core.policy_rules import DEFAULT_RULES, Rule

WORDS = ["p1", "p2", "public", "True", "Member", "admin"]
ROLES = ["admin", "member", "Reader", "p1"]
ATTRIBUTES = ["owner", "project_id", "visibility", "member_id", "absent", "name"]
KINDS = ["user_id", "user_domain_id", "project_id", "project_domain_id", "'public'", '"p1"', "True"]
HELPERS = {"helper": "role:member or project_id:%(owner)s", "open": "", "closed": "!"}

texts = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(ATTRIBUTES).map("%({})s".format),
    st.tuples(st.sampled_from(WORDS), st.sampled_from(ATTRIBUTES)).map(
        lambda pair: f"{pair[0]}%({pair[1]})s"
    ),
)
checks = st.one_of(
    st.sampled_from(["@", "!", "is_admin:True", "is_admin:False"]),
    st.sampled_from([f"rule:{name}" for name in ("context_is_admin", *HELPERS)]),
    st.sampled_from(ROLES).map("role:{}".format),
    texts.map("role:{}".format),
    st.tuples(st.sampled_from(KINDS), texts).map(":".join),
)
OPERATORS = st.sampled_from(["and", "or", "AND", "Or"])
expressions = st.recursive(
    checks,
    lambda inner: st.one_of(
        st.tuples(inner, OPERATORS, inner).map(" ".join),
        inner.map("not ({})".format),
        inner.map("( {} )".format),
        inner.map("({})".format),
    ),
    max_leaves=8,
)
callers = st.builds(
    Caller,
    user=st.sampled_from(["", "u1", "p1"]),
    project=st.sampled_from(["", "p1", "p2"]),
    roles=st.frozensets(st.sampled_from(ROLES)),
    user_domain=st.sampled_from(["", "p1"]),
    project_domain=st.sampled_from(["", "True"]),
)
targets = st.dictionaries(st.sampled_from(ATTRIBUTES[:4]), st.sampled_from([*WORDS, True, 7]))


def decided_by_oslo(text: str, caller: Caller, target: dict[str, Any]) -> bool:
    """The decision of oslo.policy."""
    enforcer = oslo.Enforcer(cfg.ConfigOpts(), use_conf=False)
    rules = {**DEFAULT_RULES, **HELPERS, Rule.GET_IMAGE: text}
    enforcer.set_rules(oslo.Rules.from_dict(rules))
    credentials = {
        "user_id": caller.user,
        "user_domain_id": caller.user_domain,
        "project_id": caller.project,
        "project_domain_id": caller.project_domain,
    }
    given: dict[str, Any] = {name: value for name, value in credentials.items() if value}
    given |= {"roles": list(caller.roles), "is_admin": "admin" in caller.roles}
    return bool(enforcer.enforce(str(Rule.GET_IMAGE), target, given))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(text=expressions, caller=callers, target=targets)
@example(text="", caller=Caller("u", "p", frozenset()), target={})
@example(
    text="role:%(owner)s",
    caller=Caller("u", "p", frozenset({"Member"})),
    target={"owner": "MEMBER"},
)
@example(text="role:a or not role:p1 and role:p1", caller=Caller("u", "p", frozenset()), target={})
def test_a_rule_decides_as_in_oslo_policy(
    text: str, caller: Caller, target: dict[str, Any]
) -> None:
    """The same decision for each expression, caller and target; and what holds is possible."""
    policy = Policy(
        {**HELPERS, "get_image": text, "modify_image": "rule:helper or rule:open or rule:closed"}
    )
    permitted = policy.permits(Rule.GET_IMAGE, caller, target)

    assert permitted is decided_by_oslo(text, caller, target)
    if permitted:
        assert policy.may_permit(Rule.GET_IMAGE, caller)


@settings(max_examples=300)
@given(
    text=st.lists(
        st.sampled_from(["(", ")", " ", "and", "or", "not", "@", "!", "role:p1", "'p1':p1"])
    ).map("".join)
)
def test_what_is_accepted_means_the_same_to_oslo_policy(text: str) -> None:
    """Any text: it is refused with a column inside it, or decided as oslo.policy does."""
    try:
        parse_rule(text)
    except InvalidExpression as error:
        note(f"column {error.column}: {error}")
        column: int | None = error.column
    else:
        column = None
    if column is not None:
        assert 1 <= column <= len(text) + 1
        return
    for roles in (frozenset[str](), frozenset({"p1"})):
        caller = Caller("u1", "p1", roles)
        assert Policy({"get_image": text}).permits(Rule.GET_IMAGE, caller) is decided_by_oslo(
            text, caller, {}
        )
