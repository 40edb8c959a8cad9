"""Permissions: which callers may see and change which images and tasks.

Services wrap a change in these functions, so that permission is checked on the locked record. An
image that the caller may not see is reported as not found.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import KW_ONLY, dataclass, field, replace

from imaged.core.errors import DataForbidden, ImageNotFound, NotPermitted, TaskNotFound
from imaged.core.history import Actor, ImageHistory
from imaged.core.image import Change, ClaimedChange, Image, Visibility
from imaged.core.lifecycle import GONE, Status
from imaged.core.policy import DEFAULT_POLICY, Policy
from imaged.core.task import Task, without_queries

WRITERS: AbstractSet[str] = frozenset({"admin", "member"})


@dataclass(frozen=True, slots=True)
class Caller:
    """The user, project and roles on whose behalf a request is made.

    A token is scoped to a project, to a domain, to the whole system, or not at all. ``policy`` is
    the table of rules that holds for the caller.
    """

    user: str
    project: str  # "" if the token is not scoped to a project
    roles: AbstractSet[str]
    _: KW_ONLY
    domain: str = ""  # "" if the token is not scoped to a domain
    is_system: bool = False  # the token is scoped to the whole system
    user_domain: str = ""
    project_domain: str = ""
    policy: Policy = field(default=DEFAULT_POLICY, compare=False, repr=False)

    @property
    def is_admin(self) -> bool:
        """Whether the caller has the role ``admin``, which permits everything."""
        return "admin" in self.roles


#: The caller of commands that work on the catalog directly.
OPERATOR = Caller("the operator", "", frozenset({"admin"}))


def is_owner(caller: Caller, image: Image) -> bool:
    """Whether the image belongs to the caller's project, or the caller is an admin."""
    return caller.is_admin or caller.project == image.owner


def may_see(caller: Caller, image: Image) -> bool:
    """Whether the image exists for this caller. No caller sees a draft."""
    if image.draft or image.status in GONE:
        return False
    if is_owner(caller, image):
        return True
    return image.visibility in (Visibility.PUBLIC, Visibility.COMMUNITY)


def require_visible(caller: Caller, image: Image) -> Image:
    """Return the image. Raises ImageNotFound."""
    if not may_see(caller, image):
        raise ImageNotFound(image.id)
    return image


def require_history(caller: Caller, image: Image) -> Image:
    """Return the image, if the caller may read its history: of a deleted one its owner and admins,
    who may ask for its restoration. Raises ImageNotFound.
    """
    if image.status in GONE and not image.draft and is_owner(caller, image):
        return image
    return require_visible(caller, image)


def history_as_seen_by(caller: Caller, history: ImageHistory) -> ImageHistory:
    """The history without what the caller may not see: addresses are for administrators, users
    and details for the owner too.
    """
    if caller.is_admin:
        return history
    if is_owner(caller, history.image):
        shown = [replace(one, actor=replace(one.actor, peer=None)) for one in history.entries]
    else:
        shown = [replace(one, actor=Actor(), details={}) for one in history.entries]
    return replace(history, entries=shown)


def require_writer(caller: Caller) -> None:
    """Raise NotPermitted for callers that may only read."""
    if not caller.roles & WRITERS:
        raise NotPermitted("Your roles only allow to read; this needs the role 'member'.")


def require_admin(caller: Caller) -> None:
    """Raise NotPermitted for all but administrators."""
    if not caller.is_admin:
        raise NotPermitted("Only an administrator may see this.")


def require_owner(caller: Caller, image: Image) -> Image:
    """Return the image, if the caller may change it. Raises ImageNotFound, NotPermitted."""
    require_visible(caller, image)
    require_writer(caller)
    if not is_owner(caller, image):
        raise NotPermitted(f"The image {image.id} belongs to another project.")
    return image


def require_readable(caller: Caller, image: Image) -> Image:
    """Return the image, if the caller may have its data. Raises ImageNotFound, DataForbidden."""
    require_visible(caller, image)
    if image.status is Status.DEACTIVATED and not caller.is_admin:
        raise DataForbidden
    return image


def by_owner(caller: Caller, change: Change) -> Change:
    """The change, restricted to the image's owner and to admins."""
    return lambda image: change(require_owner(caller, image))


def claimed_by_owner(caller: Caller, change: ClaimedChange) -> ClaimedChange:
    """A claiming change, restricted to the image's owner and to admins."""
    return lambda image, claim: change(require_owner(caller, image), claim)


def require_publisher(caller: Caller, visibility: Visibility) -> None:
    """Raise NotPermitted if the caller may not give an image this visibility."""
    if visibility is Visibility.PUBLIC and not caller.is_admin:
        raise NotPermitted("Only an administrator may make an image public.")


def caller_of(task: Task) -> Caller:
    """The caller that created the task, with the roles that it had then."""
    return Caller(task.user_id, task.owner, frozenset(task.roles))


def may_see_task(caller: Caller, task: Task) -> bool:
    """Whether the task exists for this caller: it belongs to the caller's project, or the caller is
    an admin.
    """
    return caller.is_admin or caller.project == task.owner


def require_task(caller: Caller, task: Task) -> Task:
    """Return the task. Raises TaskNotFound."""
    if not may_see_task(caller, task):
        raise TaskNotFound(task.id)
    return task


def task_as_seen_by(caller: Caller, task: Task) -> Task:
    """The task; for other projects without the queries of URLs, which may be credentials."""
    if caller.project == task.owner:
        return task
    return replace(task, input=without_queries(task.input))


def require_task_owner(caller: Caller, task: Task) -> Task:
    """Return the task, if the caller may end or remove it. Raises TaskNotFound, NotPermitted."""
    require_task(caller, task)
    require_writer(caller)
    return task
