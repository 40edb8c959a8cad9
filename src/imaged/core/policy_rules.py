"""The table of rules: which callers may make which call, unless a policy file says otherwise.

A rule has the name and the default of Glance's rule of that name, so that policy files written for
Glance mean the same here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Rule(StrEnum):
    """The rules that calls ask for."""

    GET_IMAGES = "get_images"
    GET_IMAGE = "get_image"
    ADD_IMAGE = "add_image"
    MODIFY_IMAGE = "modify_image"
    PUBLICIZE_IMAGE = "publicize_image"
    COMMUNITIZE_IMAGE = "communitize_image"
    DELETE_IMAGE = "delete_image"
    UPLOAD_IMAGE = "upload_image"
    DOWNLOAD_IMAGE = "download_image"
    DEACTIVATE = "deactivate"
    REACTIVATE = "reactivate"
    ADD_IMAGE_LOCATION = "add_image_location"
    ADD_MEMBER = "add_member"
    GET_MEMBER = "get_member"
    GET_MEMBERS = "get_members"
    MODIFY_MEMBER = "modify_member"
    DELETE_MEMBER = "delete_member"
    TASKS_API_ACCESS = "tasks_api_access"
    STORES_INFO_DETAIL = "stores_info_detail"


#: Rules that no call asks for; others refer to them. The first says who is an administrator.
CONTEXT_IS_ADMIN = "context_is_admin"
SERVICE_API = "service_api"
DEFAULT = "default"

ADMIN = f"rule:{CONTEXT_IS_ADMIN}"
SERVICE = f"rule:{SERVICE_API}"
PROJECT_MEMBER = "role:member and project_id:%(project_id)s"
PROJECT_READER = "role:reader and project_id:%(project_id)s"
SHOWN_TO_PROJECT = (
    "(project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s "
    "or 'public':%(visibility)s or 'shared':%(visibility)s)"
)
ADMIN_OR_MEMBER = f"{ADMIN} or ({PROJECT_MEMBER})"
ADMIN_OR_READER = f"{ADMIN} or ({PROJECT_READER})"
ADMIN_OR_READER_OR_SHARED = (
    f"{ADMIN} or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)"
)

DEFAULT_RULES: Mapping[str, str] = {
    CONTEXT_IS_ADMIN: "role:admin",
    SERVICE_API: "role:service or role:admin",
    DEFAULT: "",
    Rule.GET_IMAGES: ADMIN_OR_READER,
    Rule.GET_IMAGE: f"{ADMIN} or (role:reader and {SHOWN_TO_PROJECT})",
    Rule.ADD_IMAGE: f"{ADMIN} or ({PROJECT_MEMBER} and project_id:%(owner)s)",
    Rule.MODIFY_IMAGE: ADMIN_OR_MEMBER,
    Rule.PUBLICIZE_IMAGE: ADMIN,
    Rule.COMMUNITIZE_IMAGE: ADMIN_OR_MEMBER,
    Rule.DELETE_IMAGE: ADMIN_OR_MEMBER,
    Rule.UPLOAD_IMAGE: ADMIN_OR_MEMBER,
    Rule.DOWNLOAD_IMAGE: f"{ADMIN} or (role:member and {SHOWN_TO_PROJECT})",
    Rule.DEACTIVATE: ADMIN_OR_MEMBER,
    Rule.REACTIVATE: ADMIN_OR_MEMBER,
    Rule.ADD_IMAGE_LOCATION: f"{SERVICE} or ({PROJECT_MEMBER} and project_id:%(owner)s)",
    Rule.ADD_MEMBER: ADMIN_OR_MEMBER,
    Rule.GET_MEMBER: ADMIN_OR_READER_OR_SHARED,
    Rule.GET_MEMBERS: ADMIN_OR_READER_OR_SHARED,
    Rule.MODIFY_MEMBER: f"{ADMIN} or (role:member and project_id:%(member_id)s)",
    Rule.DELETE_MEMBER: ADMIN_OR_MEMBER,
    Rule.TASKS_API_ACCESS: ADMIN_OR_READER,  # in Glance ADMIN; here tasks.access says it
    Rule.STORES_INFO_DETAIL: f"{ADMIN} or {SERVICE}",
}

#: Rules of Glance for calls that imaged does not have; policy files may have them.
UNUSED_RULES = frozenset(
    {
        "add_task",
        "cache_clean",
        "cache_delete",
        "cache_image",
        "cache_list",
        "cache_prune",
        "copy_image",
        "delete_image_location",
        "download_from_store",
        "fetch_image_location",
        "get_image_location",
        "get_task",
        "get_tasks",
        "list_cached_nodes",
        "manage_image_cache",
        "modify_task",
        "set_image_location",
    }
)
UNUSED_PREFIX = "metadef"  # Glance's rules of metadata definitions have it in their names

#: Rules of calls that change something.
CHANGES = (
    Rule.MODIFY_IMAGE,
    Rule.ADD_IMAGE,
    Rule.DELETE_IMAGE,
    Rule.UPLOAD_IMAGE,
    Rule.PUBLICIZE_IMAGE,
    Rule.COMMUNITIZE_IMAGE,
    Rule.DEACTIVATE,
    Rule.REACTIVATE,
    Rule.ADD_IMAGE_LOCATION,
    Rule.ADD_MEMBER,
    Rule.MODIFY_MEMBER,
    Rule.DELETE_MEMBER,
)
