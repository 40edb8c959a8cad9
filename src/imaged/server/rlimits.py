"""Room for files and sockets: without it, a crowd of connections would keep stores from opening."""

from __future__ import annotations

import resource

RESERVED_DESCRIPTORS = 512  # for stores, catalogs and libraries, beside the connections


def raise_file_limit(connections: int) -> None:
    """Raise what this process may have open, as far as the system lets it and as it is needed.

    Many systems begin with 1,024, for programs of the time of ``select``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
