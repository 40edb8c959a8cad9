"""The tables' metadata, and helpers for their constraints and indexes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import Index, MetaData, String, text

TEXT = String().with_variant(String(collation="C"), "postgresql")

metadata = MetaData()


def check_in(column: str, values: Iterable[StrEnum]) -> str:
    """The condition that a column has one of these values."""
    names = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({names})"


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of the rows that meet a condition."""
    only = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=only, postgresql_where=only)
