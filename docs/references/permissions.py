"""Makes the page of the permissions, from the table of rules."""

from __future__ import annotations

from collections.abc import Mapping

from imaged.core.policy_parser import CREDENTIALS
from imaged.core.policy_rules import DEFAULT_RULES, UNUSED_RULES, Rule
from references.markdown import MADE, code, table

_HEAD = f"""\
# Permissions

{MADE}

For operators who write a policy file, and readers who look up why a call is 403. Each call asks a
rule; the defaults are those of Glance 33, which its package and oslo.policy confirm in the tests.
[How to set permissions](../how-to/set-permissions.md) has examples.
"""

_CALLS: Mapping[str, str] = {
    "context_is_admin": "says who is an administrator",
    "service_api": "other rules refer to it",
    "default": "rules of a policy file may refer to it",
    Rule.GET_IMAGES: "list images",
    Rule.GET_IMAGE: "show an image, in lists too, and its history",
    Rule.ADD_IMAGE: "create an image",
    Rule.MODIFY_IMAGE: "patch, tag, stage, import and verify; create and end tasks",
    Rule.PUBLICIZE_IMAGE: "make an image `public`",
    Rule.COMMUNITIZE_IMAGE: "give an image the visibility `community`",
    Rule.DELETE_IMAGE: "delete an image",
    Rule.UPLOAD_IMAGE: "upload data",
    Rule.DOWNLOAD_IMAGE: "read data, also by tasks that clone, convert and export",
    Rule.DEACTIVATE: "deactivate an image",
    Rule.REACTIVATE: "reactivate it",
    Rule.ADD_IMAGE_LOCATION: "`POST …/locations`",
    Rule.ADD_MEMBER: "share an image with a project",
    Rule.GET_MEMBER: "show a member",
    Rule.GET_MEMBERS: "list members",
    Rule.MODIFY_MEMBER: "accept or reject an image",
    Rule.DELETE_MEMBER: "share it no longer",
    Rule.TASKS_API_ACCESS: "`/v2/tasks`; with `tasks.access` for admins it is "
    "`rule:context_is_admin`",
    Rule.STORES_INFO_DETAIL: "`/v2/info/stores/detail`",
}

_LIMITS = """\
## What no rule changes

- Images of other projects that are `private`, or shared with others, do not exist for a caller:
  404. Only `context_is_admin` is above that.
- Only an image's project, and administrators, change the image, its data and its members.
- Only administrators give an image to another project, and read the data of a deactivated one.
- Tokens that are scoped to a domain or to the system make no call: lists are 403, images are 404.
- A caller who may not make a call gets 403 if it may see the image, and 404 otherwise. A caller
  with none of the roles that rules name gets 403 for everything, before anything is looked up;
  Glance says 404 about images.
"""

_LANGUAGE = """\
## The language

| check | holds if |
|---|---|
| `@`, `!` | always, never |
| `role:NAME` | the token has the role; small and capital letters are the same |
| `rule:NAME` | the other rule holds; it may be one of the file's own |
| `is_admin:True` | `context_is_admin` holds |
| `CREDENTIAL:TEXT` | the token's credential is this text: {credentials} |
| `'TEXT':TEXT` | both are the same: for `'public':%(visibility)s` |

`%(attribute)s` in a text stands for an attribute of the image: `owner` (also `project_id`),
`visibility`, `member_id` (the caller's project, if the image is shared with it), `id`, `name`,
`status`, `protected`, `os_hidden`, `disk_format`, `container_format`, `min_ram`, `min_disk`, or any
property. What the image or the token lacks equals nothing. `not` goes before `and`, and that before
`or`; parentheses group.

The start refuses what oslo.policy decides at each call: a rule that cannot be parsed; a rule
without a value, or an `!` without quotes, which there permit the call to all; a name that is there
twice, or that no call and no rule knows; a reference to a rule that does not exist, which in Glance
permits the call to all; rules that refer to each other in a circle; `http:` checks; and the list
form of old files.

Rules of Glance for calls that imaged does not have are accepted and mean nothing: {unused}, and
those of metadata definitions.
"""


def reference() -> str:
    """The page."""
    rows = ((code(rule), _CALLS[rule], code(text or "@")) for rule, text in DEFAULT_RULES.items())
    rules = table(("rule", "what it permits", "default"), rows)
    language = _LANGUAGE.format(
        credentials=", ".join(map(code, CREDENTIALS)),
        unused=", ".join(map(code, sorted(UNUSED_RULES))),
    )
    return f"{_HEAD}\n{rules}\n{_LIMITS}\n{language}"
