"""``[fetch]``: how far and how patiently import tasks fetch."""

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
    """What may be fetched from elsewhere by tasks."""

    allow: Annotated[tuple[Network, ...], Field(strict=False)] = setting(
        [],
        "Networks beyond the public internet that may be reached. Everything private, local or "
        "reserved is refused otherwise: whoever may ask for an import could reach, through this "
        "server, what trusts it.",
    )
    ports: NonEmptyTuple[Port] = setting(
        [80, 443],
        "The ports that may be connected to, also by those whom a redirect points to.",
    )
    total_time: Duration = setting("12h", "How long one fetch may take, with all its resumptions.")
    min_rate: Size = setting(
        "10KiB",
        "Bytes per second that must arrive, on average over half a minute; a slower server is "
        "left, and asked again for the rest.",
    )
    ca_file: str = setting(
        "",
        "A file with the certificates of authorities to trust, in PEM. Default: the system's.",
    )
