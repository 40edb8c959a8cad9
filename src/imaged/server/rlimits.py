"""The limit of open files: many connections must not keep stores from opening files."""

from __future__ import annotations

import resource

RESERVED_DESCRIPTORS = 512  # for stores, catalogs and libraries, beside the connections


def raise_file_limit(connections: int) -> None:
    """Raise the soft limit of open files as far as needed and allowed.

    Many systems default to 1,024, which suits programs that use ``select``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
