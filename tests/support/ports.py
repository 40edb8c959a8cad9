"""Ports of the loopback interface that stay ours.

A port that was found free and let go can be taken by any program before the server that was meant
to have it starts. So a socket stays bound to each, and never listens. With ``SO_REUSEADDR`` on both
sides, Linux lets one other socket listen there, also one server after another; it gives the port
neither to programs that bind to port 0 nor to outgoing connections (socket(7), ip(7)). imaged,
PostgreSQL, PgBouncer, SeaweedFS, Ceph, Swift and asyncio's servers all set that option.
"""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"

_reserved: list[socket.socket] = []


def reserve_port() -> int:
    """A port that a server may have until this process ends. Before it starts, nothing answers."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((LOOPBACK, 0))
    _reserved.append(holder)
    port: int = holder.getsockname()[1]
    return port
