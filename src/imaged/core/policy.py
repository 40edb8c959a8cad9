"""Rules: which callers may make which call, in the policy language of OpenStack.

A rule has the name and the default of Glance's rule of that name, so that policy files written for
Glance say the same here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_PROJECT_MEMBER = "role:member and project_id:%(project_id)s"
_PROJECT_READER = "role:reader and project_id:%(project_id)s"
_SEEN = (
    "(project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s "
    "or 'public':%(visibility)s or 'shared':%(visibility)s)"
)

ADMIN = "rule:context_is_admin"
SERVICE = "rule:service_api"
ADMIN_OR_MEMBER = f"{ADMIN} or ({_PROJECT_MEMBER})"
ADMIN_OR_READER = f"{ADMIN} or ({_PROJECT_READER})"

#: The rules that hold unless a policy file replaces them, by name.
DEFAULT_RULES: Mapping[str, str] = {
    "default": "",
    "context_is_admin": "role:admin",
    "service_api": "role:service or role:admin",
    "get_images": ADMIN_OR_READER,
    "get_image": f"{ADMIN} or (role:reader and {_SEEN})",
    "add_image": f"{ADMIN} or ({_PROJECT_MEMBER} and project_id:%(owner)s)",
    "modify_image": ADMIN_OR_MEMBER,
    "publicize_image": ADMIN,
    "communitize_image": ADMIN_OR_MEMBER,
    "delete_image": ADMIN_OR_MEMBER,
    "upload_image": ADMIN_OR_MEMBER,
    "download_image": f"{ADMIN} or (role:member and {_SEEN})",
    "deactivate": ADMIN_OR_MEMBER,
    "reactivate": ADMIN_OR_MEMBER,
    "copy_image": ADMIN,
    "add_image_location": f"{SERVICE} or ({_PROJECT_MEMBER} and project_id:%(owner)s)",
    "fetch_image_location": SERVICE,
    "get_image_location": ADMIN_OR_READER,
    "add_member": ADMIN_OR_MEMBER,
    "delete_member": ADMIN_OR_MEMBER,
    "get_member": f"{ADMIN} or role:reader and "
    "(project_id:%(project_id)s or project_id:%(member_id)s)",
    "get_members": f"{ADMIN} or role:reader and "
    "(project_id:%(project_id)s or project_id:%(member_id)s)",
    "modify_member": f"{ADMIN} or (role:member and project_id:%(member_id)s)",
    "tasks_api_access": ADMIN,
    "stores_info_detail": f"{ADMIN} or {SERVICE}",
}


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A table of rules. Each authenticator gives its callers the table that holds for them."""

    rules: Mapping[str, str]


DEFAULT_POLICY = Policy(DEFAULT_RULES)
