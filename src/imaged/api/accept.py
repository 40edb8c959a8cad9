"""What a client takes, by the header ``Accept`` of its request (RFC 9110, section 12.5.1)."""

from __future__ import annotations

JSON = "application/json"


def wants_json(accept: str) -> bool:
    """Whether JSON suits an Accept header: it names JSON, or neither text nor HTML.

    openstacksdk sends an empty header with uploads, and shows the sentence of a JSON answer only.
    """
    accepted, refused = _media_types(accept)
    if JSON in accepted:
        return True
    return JSON not in refused and not any(one.startswith("text/") for one in accepted)


def takes_anything(accept: str) -> bool:
    """Whether an Accept header is that of a client that did not think of JSON: ``*/*``.

    python-glanceclient, with which Nova and Cinder ask, sends it, and fails at a JSON error whose
    members are not objects. Glance answers it by a page. openstacksdk sends it too.
    """
    accepted, _ = _media_types(accept)
    return "*/*" in accepted and JSON not in accepted


def wants_html(accept: str) -> bool:
    """Whether an Accept header names HTML and not JSON, as those of browsers do."""
    accepted, _ = _media_types(accept)
    return "text/html" in accepted and JSON not in accepted


def _media_types(accept: str) -> tuple[set[str], set[str]]:
    """The media types that an Accept header names, and those that it excludes by ``q=0``."""
    accepted: set[str] = set()
    refused: set[str] = set()
    for item in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        is_refused = any(parameter in {"q=0", "q=0.0", "q=0.00"} for parameter in parameters)
        (refused if is_refused else accepted).add(media_type)
    return accepted, refused
