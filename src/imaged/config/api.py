"""``[api]``: the addresses of the API, and the limits of its connections."""

from __future__ import annotations

from pydantic import Field, model_validator

from imaged.config.sections import Section, setting
from imaged.config.types import (
    BindAddress,
    Duration,
    NonEmptyTuple,
    PlainTuple,
    PositiveDuration,
    PositiveInt,
    ProcessCount,
    Size,
    WrongSetting,
)
from imaged.config.urls import Origin, PublicUrl
from imaged.core.limits import MIB

MOST_AUTOMATIC_PROCESSES = 8  # more are seldom faster, as the catalog is shared
LEAST_BUDGET_OF_PROCESS = 16 * MIB  # of uploads.transfer_budget: some transfers at full speed
MIN_HEADER_BYTES = 4096  # less has no room for tokens


class CorsSection(Section):
    """Web pages of other origins that may call the API, such as Horizon's direct upload."""

    allowed_origins: PlainTuple[Origin] = setting(
        [],
        'The origins of such pages, as browsers send them: "https://horizon.example.net", with '
        "the port if it is not the default one. Pages still need a token. Not with auth.method "
        '"none".',
    )
    max_age: Duration = setting(
        "10m", "How long a browser may go on without asking again whether it may call."
    )


class ApiSection(Section):
    """The addresses of the API, and the limits of its connections."""

    bind: NonEmptyTuple[BindAddress] = setting(
        ["127.0.0.1:9292"],
        'Addresses to listen on: "host:port", "[IPv6]:port", "unix:/path". Loopback only, until '
        "you have set up authentication.",
    )
    public_url: PublicUrl = setting(
        "",
        "The beginning of links in answers, for imaged behind a proxy; default: the "
        "request's own address.",
    )
    processes: ProcessCount = setting(
        1,
        'How many processes answer requests: a number, or "auto": as many as this service may use '
        "processors, at most 8. They share the addresses, the limits of connections and "
        "uploads.transfer_budget. With 1, the main process answers.",
    )
    max_connections: PositiveInt = setting(
        2048,
        "The maximum of open connections; others get 503 at once. Each holds up to 400 KiB beside "
        "uploads.transfer_budget, an idle one 20 KiB, and takes one of LimitNOFILE.",
        reloadable=True,
    )
    max_connections_per_address: PositiveInt = setting(
        1536,
        "The same for one client: an IPv4 address, or an IPv6 network of 64 bits. Less than "
        "max_connections, so that one client cannot shut out others; a proxy needs room for all "
        "of its clients. Unix sockets are not counted.",
        reloadable=True,
    )
    header_timeout: Duration = setting(
        "15s",
        "How long the header of a request may take, from the connection or its first byte on; "
        "then 408. Headers are small: a client that needs longer only holds the connection.",
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
        "The approximate maximum of bytes in a page of a list of images; a longer page ends "
        "earlier, with a link to the next one. A page is in memory several times.",
        reloadable=True,
    )
    list_budget: PositiveDuration = setting(
        "1s",
        "How long the catalog may look for the page of a list; then 400, with the name of a filter "
        "to add. A page takes milliseconds, unless its filters fit many images each and few "
        "together. With SQLite it is time of a processor, and ten times as much by the clock; with "
        "PostgreSQL it is by the clock.",
    )
    min_rate: Size = setting(
        "1KiB",
        "Bytes per second that a client must send of a body (or else 408, and the upload is given "
        "back) or read of an answer (otherwise a reset). Time in which it waits for imaged "
        'does not count. "0": no limit.',
        reloadable=True,
    )
    min_rate_window: Duration = setting(
        "30s",
        "The time over which min_rate is averaged: how long a fast client may stall.",
        reloadable=True,
    )
    idle_timeout: Duration = setting(
        "75s",
        "How long a connection is kept after an answer, for the next request. Longer than most "
        "proxies keep theirs, so that the proxy closes it.",
        reloadable=True,
    )
    linger: Duration = setting(
        "2s",
        "How long the rest of a refused body is read and dropped, so that a client that is still "
        "sending can read the answer.",
        reloadable=True,
    )

    cors: CorsSection = Field(
        default_factory=CorsSection, description="Which web pages may call the API."
    )

    @model_validator(mode="after")
    def _require_positive_timeouts(self) -> ApiSection:
        for name in ("header_timeout", "min_rate_window", "idle_timeout"):
            if not getattr(self, name):
                raise WrongSetting(name, "must be more than 0")
        if self.max_header_size < MIN_HEADER_BYTES:
            raise WrongSetting("max_header_size", "must be at least 4KiB")
        return self
