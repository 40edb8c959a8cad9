"""The minor versions of the Image API, each with the calls that it stands for.

A version is announced if all of its calls are served; calls are served below every version. Clients
look for the version that brought a call, and not for the highest, so the announced versions are a
set and no ladder: Glance leaves out some in the middle, too, by its configuration.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

_IMAGE = "/v2/images/{image_id}"
_NAMESPACE = "/v2/metadefs/namespaces/{namespace}"
_SEVERAL_STORES = ("DELETE /v2/stores/{store_id}/{image_id}",)

#: By the number behind "v2."; for the names of parameters any others may stand.
CALLS_OF_VERSIONS: Mapping[int, Collection[str]] = {
    0: (
        *(f"{method} /v2/images" for method in ("GET", "POST")),
        *(f"{method} {_IMAGE}" for method in ("GET", "PATCH", "DELETE")),
        *(f"{method} {_IMAGE}/file" for method in ("GET", "PUT")),
        *(f"{method} {_IMAGE}/tags/{{tag}}" for method in ("PUT", "DELETE")),
        *(f"GET /v2/schemas/{kind}" for kind in ("image", "images")),
    ),
    1: (
        *(f"{method} {_IMAGE}/members" for method in ("GET", "POST")),
        *(f"{method} {_IMAGE}/members/{{member_id}}" for method in ("GET", "PUT", "DELETE")),
        *(f"GET /v2/schemas/{kind}" for kind in ("member", "members")),
    ),
    2: (
        *(f"{method} /v2/tasks" for method in ("GET", "POST")),
        "GET /v2/tasks/{task_id}",
        *(f"GET /v2/schemas/{kind}" for kind in ("task", "tasks")),
        "GET /v2/metadefs/resource_types",
        *(f"{method} /v2/metadefs/namespaces" for method in ("GET", "POST")),
        *(f"{method} {_NAMESPACE}" for method in ("GET", "PUT", "DELETE")),
        *(
            f"{method} {_NAMESPACE}/{kind}"
            for kind in ("objects", "properties", "resource_types", "tags")
            for method in ("GET", "POST")
        ),
    ),
    3: (f"POST {_IMAGE}/actions/deactivate", f"POST {_IMAGE}/actions/reactivate"),
    4: (f"PATCH {_IMAGE}",),  # it refuses changes of locations
    5: (f"PATCH {_IMAGE}", f"POST {_IMAGE}/members"),  # the visibilities community and shared
    6: (f"PUT {_IMAGE}/stage", f"POST {_IMAGE}/import", "GET /v2/info/import"),
    7: ("GET /v2/images", f"GET {_IMAGE}"),  # os_hidden, os_hash_algo and os_hash_value
    8: ("GET /v2/info/stores", *_SEVERAL_STORES),
    9: ("GET /v2/info/stores", *_SEVERAL_STORES),
    10: _SEVERAL_STORES,
    11: _SEVERAL_STORES,
    12: (f"GET {_IMAGE}/tasks",),
    13: ("GET /v2/info/usage",),
    14: (
        *(f"{method} /v2/cache" for method in ("GET", "DELETE")),
        *(f"{method} /v2/cache/{{image_id}}" for method in ("PUT", "DELETE")),
    ),
    15: ("GET /v2/info/stores/detail",),
    16: ("PUT /v2/cache/{image_id}",),
    17: (f"GET {_IMAGE}/locations", f"POST {_IMAGE}/locations"),
    18: ("POST /v2/cache/clean", "POST /v2/cache/prune"),
}

_PARAMETER = re.compile(r"\{\w+\}")


def announced_versions(served: Iterable[str]) -> Sequence[str]:
    """The versions whose calls are all served, as in ``v2.15``; the first is the current one.

    ``served``: each as in ``GET /v2/images/{image_id}``.
    """
    forms = {_form_of(call) for call in served}
    return [
        f"v2.{minor}"
        for minor in sorted(CALLS_OF_VERSIONS, reverse=True)
        if {_form_of(call) for call in CALLS_OF_VERSIONS[minor]} <= forms
    ]


def _form_of(call: str) -> str:
    return _PARAMETER.sub("{}", call)
