"""``[api]``: where requests come in, and how patiently they are waited for."""

from __future__ import annotations

from pydantic import model_validator

from imaged.config.sections import Section, setting
from imaged.config.types import BindAddress, Duration, NonEmptyTuple, PositiveInt, PublicUrl, Size

MIN_HEADER_BYTES = 4096  # clients could not show their tokens


class ApiSection(Section):
    """Where requests come in."""

    bind: NonEmptyTuple[BindAddress] = setting(
        ["127.0.0.1:9292"],
        'Addresses to listen on: "host:port", "[IPv6]:port", "unix:/path". Loopback only, until '
        "you have decided who may come in.",
    )
    public_url: PublicUrl = setting(
        "",
        "What links in answers begin with, where a proxy stands before imaged; default: the "
        "request's own address.",
    )
    max_connections: PositiveInt = setting(
        2048,
        "How many connections may be open; others get 503 at once. Each holds up to 400 KiB beside "
        "uploads.transfer_budget, an idle one 20 KiB, and takes one of LimitNOFILE.",
        reloadable=True,
    )
    max_connections_per_address: PositiveInt = setting(
        1536,
        "The same for one client: an IPv4 address, or an IPv6 network of 64 bits. Less than all, "
        "so that one alone shuts out nobody; a proxy needs room for all of its clients. Unix "
        "sockets are not counted.",
        reloadable=True,
    )
    header_timeout: Duration = setting(
        "15s",
        "How long the header of a request may take, from connecting or from its first byte on; "
        "then 408. Headers are small: who needs longer wants to hold the connection.",
        reloadable=True,
    )
    max_header_size: Size = setting(
        "32KiB",
        "The largest header of a request; larger ones get 431. Tokens are the largest part: "
        "Fernet's have 300 bytes, PKI's had 8 KiB.",
        reloadable=True,
    )
    max_page_size: Size = setting(
        "8MiB",
        "How many bytes a page of a list of images may have, about; it ends earlier then, with a "
        "link to the next one. It is in memory several times while it is made.",
        reloadable=True,
    )
    min_rate: Size = setting(
        "1KiB",
        "Bytes per second that a client must send of a body (or else 408, and the upload is given "
        "back) or read of an answer (or else it is broken off). Time in which it waits for imaged "
        'is not counted. "0": any.',
        reloadable=True,
    )
    min_rate_window: Duration = setting(
        "30s",
        "Over how long min_rate is averaged: how long a client may stall that was quick before.",
        reloadable=True,
    )
    idle_timeout: Duration = setting(
        "75s",
        "How long a connection is kept after an answer, for the next request. Longer than most "
        "proxies keep theirs, so that it is they who close.",
        reloadable=True,
    )
    linger: Duration = setting(
        "2s",
        "How long the rest of a refused body is read away, so that a client that is still sending "
        "comes to read why.",
        reloadable=True,
    )

    @model_validator(mode="after")
    def _require_positive_timeouts(self) -> ApiSection:
        for name in ("header_timeout", "min_rate_window", "idle_timeout"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be more than 0")
        if self.max_header_size < MIN_HEADER_BYTES:
            raise ValueError("max_header_size must be at least 4KiB")
        return self
