"""Permissions: which callers may see and change which images.

Two things decide. What a project can see and change is fixed: other projects' images only if they
are open, and only its own images can be changed; ``context_is_admin`` is above that. Inside these
limits the rules of the caller's policy decide, by the caller's roles. Both are those of Glance.

Services wrap a change in these functions, so that permission is checked on the locked record. An
image that the caller may not see is reported as not found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import KW_ONLY, dataclass, field, replace
from operator import attrgetter

from imaged.core.errors import DataForbidden, ImageNotFound, NotPermitted
from imaged.core.image import Change, ClaimedChange, Image, Visibility
from imaged.core.lifecycle import GONE, Status
from imaged.core.policy import DEFAULT_POLICY, Policy
from imaged.core.policy_rules import CHANGES, Rule


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
    is_admin: bool = field(init=False)  # by the rule context_is_admin

    def __post_init__(self) -> None:
        """Names of roles are compared in small letters."""
        object.__setattr__(self, "roles", frozenset(role.lower() for role in self.roles))
        object.__setattr__(self, "is_admin", self.policy.is_admin(self))

    @property
    def system_scope(self) -> str:
        """The scope of a token for the whole system, as rules name it."""
        return "all" if self.is_system else ""


#: The caller of commands that work on the catalog directly.
OPERATOR = Caller("the operator", "", frozenset({"admin"}))

#: Each of these roles has all that follow it, as in Keystone.
ROLES_BY_POWER = ("admin", "manager", "member", "reader")

#: Changes that only the project of an image makes, whatever its rule says.
_OWNERS_RULES = frozenset(CHANGES) - {Rule.ADD_IMAGE_LOCATION, Rule.MODIFY_MEMBER}

_ATTRIBUTES: Mapping[str, Callable[[Image], object]] = {
    "project_id": attrgetter("owner"),
    "owner": attrgetter("owner"),
    "visibility": attrgetter("visibility"),
    "id": attrgetter("id"),
    "image_id": attrgetter("id"),
    "name": attrgetter("name"),
    "status": attrgetter("status"),
    "protected": attrgetter("protected"),
    "os_hidden": attrgetter("hidden"),
    "disk_format": attrgetter("disk_format"),
    "container_format": attrgetter("container_format"),
    "min_ram": attrgetter("min_ram_mib"),
    "min_disk": attrgetter("min_disk_gib"),
}

_VISIBILITY_RULES = {
    Visibility.PUBLIC: Rule.PUBLICIZE_IMAGE,
    Visibility.COMMUNITY: Rule.COMMUNITIZE_IMAGE,
}

_NEEDS_MEMBER = "Your roles only allow to read; this needs the role 'member'."
_REASONS: Mapping[Rule, str] = {
    Rule.GET_IMAGES: "Listing images needs the role 'reader'.",
    Rule.PUBLICIZE_IMAGE: "Only an administrator may make an image public.",
    Rule.DOWNLOAD_IMAGE: "Your roles only allow to read records; data needs the role 'member'.",
    Rule.MODIFY_MEMBER: "Only the project that the image is shared with may answer, by the role "
    "'member'.",
    Rule.TASKS_API_ACCESS: "Your roles do not allow to use tasks here.",
    Rule.STORES_INFO_DETAIL: "Only an administrator or a service may see this.",
}


class ImageTarget:
    """An image, as rules see it: its attributes by the names of the API, then its properties.

    ``project``: of the caller. It is a member of each shared image that is not its own: others do
    not exist for it.
    """

    __slots__ = ("_image", "_project")

    def __init__(self, image: Image, project: str) -> None:
        self._image = image
        self._project = project

    def __getitem__(self, name: str) -> object:
        """The value of the attribute. Raises KeyError if the image lacks it."""
        read = _ATTRIBUTES.get(name)
        if read is not None:
            return read(self._image)
        image, project = self._image, self._project
        if name == "member_id":
            is_shared = image.visibility is Visibility.SHARED and image.owner != project
            return project if is_shared else ""
        return image.properties[name]


def with_implied_roles(roles: AbstractSet[str]) -> AbstractSet[str]:
    """The roles, with those that they imply where no Keystone has added them."""
    held = [place for place, role in enumerate(ROLES_BY_POWER) if role in roles]
    return roles | frozenset(ROLES_BY_POWER[held[0] :]) if held else roles


def require_known_role(caller: Caller) -> None:
    """Raise NotPermitted for a caller to whom no rule permits anything, before a call is read."""
    policy = caller.policy
    if caller.roles.isdisjoint(policy.roles) and not _may_do_any(caller, tuple(Rule)):
        held = ", ".join(sorted(caller.roles)) or "none"
        raise NotPermitted(
            f"Your token has no role that is known here (its roles: {held}). Known are "
            f"{', '.join(sorted(policy.roles))}."
        )


def require_change(caller: Caller) -> None:
    """Raise NotPermitted for a caller that may change nothing, whatever the call is about."""
    if not _may_do_any(caller, CHANGES):
        raise NotPermitted(why_not(caller, Rule.MODIFY_IMAGE))


def is_owner(caller: Caller, image: Image) -> bool:
    """Whether the image belongs to the caller's project, or the caller is an admin."""
    return caller.is_admin or (caller.project == image.owner and caller.project != "")


def may_see(caller: Caller, image: Image) -> bool:
    """Whether the image exists for this caller. No caller sees a draft."""
    return _is_open_to(caller, image) and permits(caller, Rule.GET_IMAGE, image)


def require_visible(caller: Caller, image: Image) -> Image:
    """Return the image. Raises ImageNotFound."""
    if not may_see(caller, image):
        raise ImageNotFound(image.id)
    return image


def require_list(caller: Caller) -> None:
    """Raise NotPermitted for callers that may not list images."""
    if not caller.policy.permits(Rule.GET_IMAGES, caller, {"project_id": caller.project}):
        raise NotPermitted(why_not(caller, Rule.GET_IMAGES))


def may_see_listed(caller: Caller, image: Image) -> bool:
    """Whether the caller may see an image that the catalog has found for it."""
    return permits(caller, Rule.GET_IMAGE, image)


def sees_all_found(caller: Caller) -> bool:
    """Whether the caller may see all images that the catalog finds for it; otherwise the rule
    ``get_image`` must be asked for each.

    The default rule permits those to all readers.
    """
    return not caller.policy.is_replaced(Rule.GET_IMAGE) and (
        caller.is_admin or "reader" in caller.roles
    )


def require_permitted(caller: Caller, rule: Rule, image: Image) -> Image:
    """Return the image, if the caller may make the call on it. Raises ImageNotFound, NotPermitted.

    ``rule``: of a call on an image that exists. As in Glance, a caller that may make a call need
    not have the right to see the image; one that may not is told so only if it may see the image.
    """
    _require_open(caller, image)
    is_others = rule in _OWNERS_RULES and not is_owner(caller, image)
    if permits(caller, rule, image) and not is_others:
        return image
    require_visible(caller, image)
    if is_others:
        require_change(caller)
        raise NotPermitted(f"The image {image.id} belongs to another project.")
    raise NotPermitted(why_not(caller, rule))


def require_readable(caller: Caller, image: Image) -> Image:
    """Return the image, if the caller may have its data. Raises ImageNotFound, DataForbidden,
    NotPermitted.
    """
    _require_open(caller, image)
    if image.status is Status.DEACTIVATED and not caller.is_admin:
        require_visible(caller, image)
        raise DataForbidden
    return require_permitted(caller, Rule.DOWNLOAD_IMAGE, image)


def permitted_change(caller: Caller, rule: Rule, change: Change) -> Change:
    """The change, restricted to callers that may make the call on the image."""
    return lambda image: change(require_permitted(caller, rule, image))


def permitted_claim(caller: Caller, rule: Rule, change: ClaimedChange) -> ClaimedChange:
    """A claiming change, restricted to callers that may make the call on the image."""
    return lambda image, claim: change(require_permitted(caller, rule, image), claim)


def require_new(caller: Caller, image: Image) -> Image:
    """Return the new image, if the caller may create it. Raises NotPermitted."""
    if not permits(caller, Rule.ADD_IMAGE, image):
        if permits(caller, Rule.ADD_IMAGE, replace(image, owner=caller.project)):
            raise NotPermitted(
                "Only an administrator may set the attribute 'owner' to another project."
            )
        raise NotPermitted(why_not(caller, Rule.ADD_IMAGE))
    require_visibility(caller, image, image.visibility)
    return image


def require_visibility(caller: Caller, image: Image, visibility: Visibility) -> None:
    """Raise NotPermitted if the caller may not give the image this visibility."""
    rule = _VISIBILITY_RULES.get(visibility)
    if rule is not None and not permits(caller, rule, image):
        raise NotPermitted(why_not(caller, rule))


def require_store_details(caller: Caller) -> None:
    """Raise NotPermitted for callers that may not see the details of stores."""
    if not caller.policy.permits(Rule.STORES_INFO_DETAIL, caller):
        raise NotPermitted(why_not(caller, Rule.STORES_INFO_DETAIL))


def _is_open_to(caller: Caller, image: Image) -> bool:
    """Whether the image belongs to what the caller's project can see, whatever the rules say."""
    if image.draft or image.status in GONE:
        return False
    if is_owner(caller, image) or image.is_shared_with(caller.project):
        return True
    return image.visibility in (Visibility.PUBLIC, Visibility.COMMUNITY)


def _require_open(caller: Caller, image: Image) -> None:
    if not _is_open_to(caller, image):
        raise ImageNotFound(image.id)


def permits(caller: Caller, rule: Rule, image: Image) -> bool:
    """Whether the rule permits the call on this image, if the caller sees it."""
    return caller.policy.permits(rule, caller, ImageTarget(image, caller.project))


def _may_do_any(caller: Caller, rules: tuple[Rule, ...]) -> bool:
    return any(caller.policy.may_permit(rule, caller) for rule in rules)


def why_not(caller: Caller, rule: Rule) -> str:
    """Why a rule refuses, as a sentence."""
    if caller.is_system or caller.domain:
        scope = "the system" if caller.is_system else "a domain"
        return f"Your token is scoped to {scope}; this needs a token that is scoped to a project."
    if caller.policy.is_replaced(rule):
        return f"The rule {rule.value!r} of the policy does not permit this to you."
    return _REASONS.get(rule, _NEEDS_MEMBER)
