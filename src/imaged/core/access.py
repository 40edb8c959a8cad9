"""Who may see and change what.

One place decides: services put these in front of a change, so that the decision is made on the
record that is locked, and an image that the caller may not see does not exist for him.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from imaged.core.errors import DataForbidden, ImageNotFound, NotPermitted, TaskNotFound
from imaged.core.image import Change, ClaimedChange, Image, Visibility
from imaged.core.lifecycle import GONE, Status
from imaged.core.signed_urls import without_queries
from imaged.core.task import Task

WRITERS: AbstractSet[str] = frozenset({"admin", "member"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking."""

    user: str
    project: str
    roles: AbstractSet[str]

    @property
    def is_admin(self) -> bool:
        """Whether he may do everything."""
        return "admin" in self.roles


#: Who works on the catalog itself, by the command line.
OPERATOR = Caller("the operator", "", frozenset({"admin"}))


def may_see(caller: Caller, image: Image) -> bool:
    """Whether the image exists for this caller. A draft does for nobody."""
    if image.draft or image.status in GONE:
        return False
    if caller.is_admin or caller.project == image.owner:
        return True
    return image.visibility in (Visibility.PUBLIC, Visibility.COMMUNITY)


def require_visible(caller: Caller, image: Image) -> Image:
    """Return the image. Raises ImageNotFound."""
    if not may_see(caller, image):
        raise ImageNotFound(image.id)
    return image


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
    if not caller.is_admin and caller.project != image.owner:
        raise NotPermitted(f"The image {image.id} belongs to another project.")
    return image


def require_readable(caller: Caller, image: Image) -> Image:
    """Return the image, if the caller may have its data. Raises ImageNotFound, DataForbidden."""
    require_visible(caller, image)
    if image.status is Status.DEACTIVATED and not caller.is_admin:
        raise DataForbidden
    return image


def by_owner(caller: Caller, change: Change) -> Change:
    """The change, open to the image's owner and to admins."""
    return lambda image: change(require_owner(caller, image))


def claimed_by_owner(caller: Caller, change: ClaimedChange) -> ClaimedChange:
    """The same for a change that claims."""
    return lambda image, claim: change(require_owner(caller, image), claim)


def require_publisher(caller: Caller, visibility: Visibility) -> None:
    """Raise NotPermitted if the caller may not give an image this visibility."""
    if visibility is Visibility.PUBLIC and not caller.is_admin:
        raise NotPermitted("Only an administrator may make an image public.")


def caller_of(task: Task) -> Caller:
    """Who asked for the task, with the rights that he had then."""
    return Caller(task.user_id, task.owner, frozenset(task.roles))


def may_see_task(caller: Caller, task: Task) -> bool:
    """Whether the task exists for this caller: his project's, or he is an admin."""
    return caller.is_admin or caller.project == task.owner


def require_task(caller: Caller, task: Task) -> Task:
    """Return the task. Raises TaskNotFound."""
    if not may_see_task(caller, task):
        raise TaskNotFound(task.id)
    return task


def task_as_seen_by(caller: Caller, task: Task) -> Task:
    """The task, with queries of URLs for its own project only: they may be credentials."""
    if caller.project == task.owner:
        return task
    return replace(task, input=without_queries(task.input))


def require_task_owner(caller: Caller, task: Task) -> Task:
    """Return the task, if the caller may end or remove it. Raises TaskNotFound, NotPermitted."""
    require_task(caller, task)
    require_writer(caller)
    return task
