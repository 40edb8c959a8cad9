"""``[fetch]``: the addresses that imports may fetch from, and the limits of a fetch."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

from imaged.config.sections import Section, setting
from imaged.config.types import Duration, NonEmptyTuple, Size


def _parse_network(text: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text if isinstance(text, str) else "")
    except ValueError:
        raise ValueError('must be a network such as "10.0.0.0/8" or "fd00::/8"') from None


Network = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(_parse_network), PlainSerializer(str)
]
Port = Annotated[int, Field(ge=1, le=65535)]


class FetchSection(Section):
    """Fetching of data from other hosts, by tasks."""

    allow: Annotated[tuple[Network, ...], Field(strict=False)] = setting(
        [],
        "Networks beyond the public internet that may be fetched from. Otherwise every private, "
        "local or reserved address is refused: users who import could reach services that trust "
        "this server.",
    )
    ports: NonEmptyTuple[Port] = setting(
        [80, 443],
        "The ports that may be connected to, also after a redirect.",
    )
    total_time: Duration = setting("12h", "How long one fetch may take, with all its resumptions.")
    min_rate: Size = setting(
        "10KiB",
        "Bytes per second that must arrive, on average over half a minute; from a slower server "
        "the rest is requested again.",
    )
    ca_file: str = setting(
        "",
        "A file with the certificates of authorities to trust, in PEM. Default: the system's.",
    )
