"""Permissions: which callers may see, create and end which tasks."""

from __future__ import annotations

from dataclasses import replace

from imaged.core.access import Caller, why_not, with_implied_roles
from imaged.core.errors import NotPermitted, TaskNotFound
from imaged.core.policy import DEFAULT_POLICY, Policy
from imaged.core.policy_rules import Rule
from imaged.core.task import Task, without_queries


def require_tasks(caller: Caller) -> None:
    """Raise NotPermitted for callers that may not use ``/v2/tasks``."""
    target = {"project_id": caller.project}
    if not caller.policy.permits(Rule.TASKS_API_ACCESS, caller, target):
        raise NotPermitted(why_not(caller, Rule.TASKS_API_ACCESS))


def require_task_change(caller: Caller, project: str) -> None:
    """Raise NotPermitted for callers that may not create or end tasks of this project: that takes
    the right to modify its images.
    """
    if not caller.policy.permits(Rule.MODIFY_IMAGE, caller, {"project_id": project}):
        raise NotPermitted(why_not(caller, Rule.MODIFY_IMAGE))


def caller_of(task: Task, policy: Policy = DEFAULT_POLICY) -> Caller:
    """The caller that created the task, with the roles that it had then."""
    roles = with_implied_roles(frozenset(task.roles))
    return Caller(task.user_id, task.owner, roles, policy=policy)


def may_see_task(caller: Caller, task: Task) -> bool:
    """Whether the task exists for this caller: it belongs to the caller's project, or the caller is
    an admin.
    """
    return caller.is_admin or (caller.project == task.owner and caller.project != "")


def require_task(caller: Caller, task: Task) -> Task:
    """Return the task. Raises TaskNotFound."""
    if not may_see_task(caller, task):
        raise TaskNotFound(task.id)
    return task


def require_own_task(caller: Caller, task: Task) -> Task:
    """Return the task, if the caller may end or remove it. Raises TaskNotFound, NotPermitted."""
    require_task(caller, task)
    require_task_change(caller, task.owner)
    return task


def task_as_seen_by(caller: Caller, task: Task) -> Task:
    """The task; for other projects without the queries of URLs, which may be credentials."""
    if caller.project == task.owner:
        return task
    return replace(task, input=without_queries(task.input))
