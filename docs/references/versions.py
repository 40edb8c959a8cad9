"""Makes the section of the page of calls that says which minor versions are announced."""

from __future__ import annotations

from collections.abc import Iterable

from imaged.api.versions import CALLS_OF_VERSIONS, announced_versions
from references.markdown import code, table

_HEAD = """\
## Minor versions

A minor version is announced (`GET /versions`) if all of its calls are served. `glance` asks for the
very version that brought a call, so this is a set and no ladder: some are missing in the middle.
keystoneauth, and what is built on it, takes the next higher version for one that is missing. A call
that is served can be reached below each of `/v2` and `/v2.0` to `/v2.18`, and no header selects a
version.
"""


def section(served: Iterable[str]) -> str:
    """The section. ``served``: the calls, as in ``GET /v2/images``."""
    announced = announced_versions(served)
    rows = (
        (
            code(f"v2.{minor}"),
            "yes" if f"v2.{minor}" in announced else "no",
            ", ".join(map(code, calls)),
        )
        for minor, calls in CALLS_OF_VERSIONS.items()
    )
    return f"{_HEAD}\n{table(('version', 'announced', 'its calls'), rows)}"
