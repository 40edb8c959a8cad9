"""The place where a page begins, looked up by the statement that reads the page.

A further page is asked for by the id of an image. Reading that image first is a statement more, and
a round trip to a server; a subselect for each key of the order costs a search by the id. It finds
nothing, and so the page is empty, unless ``core.query.is_plain_marker``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, or_, select

from imaged.catalogs.list_terms import Clause, bound
from imaged.catalogs.tables import images
from imaged.core.access import Caller
from imaged.core.image import Visibility
from imaged.core.lifecycle import GONE
from imaged.core.query import Column

MARKER_ID = "marker_id"  # the parameter

_marker = images.alias("marker")
_OPEN = (Visibility.PUBLIC, Visibility.COMMUNITY)


def marked_value(name: Column, caller: Caller | None) -> ColumnElement[Any]:
    """The value of this column of the image that the parameter names."""
    is_named = _marker.c.id == bindparam(MARKER_ID, None, type_=images.c.id.type)
    found = select(_marker.c[name]).where(is_named, *_is_plain(caller))
    return found.scalar_subquery()


def _is_plain(caller: Caller | None) -> Sequence[Clause]:
    """In SQL: ``is_plain_marker``."""
    if caller is None:
        return []
    is_there = [_marker.c.status.not_in(sorted(GONE)), ~_marker.c.draft]
    if caller.is_admin:
        return is_there
    is_open = _marker.c.visibility.in_(_OPEN)
    if not caller.project:
        return [*is_there, is_open]
    owner = bound(caller.project, images.c.owner.type)
    return [*is_there, or_(is_open, _marker.c.owner == owner)]
