"""What keeps SQLite from plans of its own: it has no statistics, and takes the wrong index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from imaged.catalogs.image_pages import ListStatements
from imaged.catalogs.list_statements import RunStatements
from imaged.catalogs.tables import images
from imaged.core.list_runs import single_run
from imaged.core.query import Column, Condition, ImageQuery, Operator, Order

ACTIVE = Condition(Column.STATUS, Operator.EQUAL, "active")
NAMED = Condition(Column.NAME, Operator.EQUAL, "n")
RECENT = Condition(Column.CREATED_AT, Operator.GREATER, datetime(2025, 1, 1, tzinfo=UTC))
BETWEEN = tuple(
    Condition(Column.MIN_RAM, operator, 5)
    for operator in (Operator.GREATER_OR_EQUAL, Operator.LESS_OR_EQUAL)
)
OWNED = Condition(Column.OWNER, Operator.EQUAL, "p")
BY_SIZE = (Order(Column.SIZE),)


def plan_of(query: ImageQuery, driver: int | None) -> Sequence[str]:
    """How SQLite reads the first images, if this one of the filters finds them."""
    run = single_run(query.order, query.conditions, None)
    assert run is not None
    statements = RunStatements(query, run, query.limit, "sqlite")
    term = None if driver is None else statements.terms.filters[driver]
    return plan_of_statement(statements.ids((term,)))


def plan_of_statement(statement: Any) -> Sequence[str]:
    """How SQLite executes it."""
    engine = create_engine("sqlite://")
    with engine.connect() as db:
        images.metadata.create_all(db)
        compiled = statement.compile(engine, compile_kwargs={"literal_binds": True})
        return [
            row.detail
            for row in db.execute(
                text(f"EXPLAIN QUERY PLAN {compiled}".replace("LIMIT ?", "LIMIT -1"))
            )
        ]


@pytest.mark.parametrize("order", [ImageQuery().order, BY_SIZE], ids=["newest first", "by size"])
def test_a_rare_tag_is_read_first(order: tuple[Order, ...]) -> None:
    """And its images by their ids, though there is an index of what is checked."""
    query = ImageQuery(tags=("t",), conditions=(ACTIVE, OWNED), order=order)

    plan = [line for line in plan_of(query, 0) if line.startswith(("SEARCH", "SCAN"))]

    tags, found = [line for line in plan if "image_tags" in line or "images" in line][:2]
    assert "image_tags_tag" in tags
    assert "images" in found
    assert "id=?" in found
    assert not any("images_status" in line or "images_owner" in line for line in plan)


@pytest.mark.parametrize(
    ("driver", "index"), [(0, "images_status"), (1, "images_owner"), (None, "images_created")]
)
def test_the_chosen_order_is_walked(driver: int | None, index: str) -> None:
    """Without sorting, whatever other index a filter has."""
    plan = plan_of(ImageQuery(conditions=(ACTIVE, OWNED)), driver)

    assert any(f"INDEX {index} " in line or line.endswith(f"INDEX {index}") for line in plan)
    assert not any("TEMP B-TREE" in line for line in plan)


def test_images_that_a_filter_finds_are_read_by_their_numbers() -> None:
    """An index has them; searching for their ids would cost as much again."""
    plan = plan_of(ImageQuery(conditions=(NAMED,), order=BY_SIZE), 0)

    assert any("INDEX images_name (name=?)" in line for line in plan)
    assert any("INTEGER PRIMARY KEY (rowid=?)" in line for line in plan)
    assert not any("autoindex" in line for line in plan)


def test_bounds_of_a_column_are_one_search() -> None:
    """Between them there may be few images, or none."""
    plan = plan_of(ImageQuery(conditions=BETWEEN, order=BY_SIZE), 0)

    assert any("images_min_ram (min_ram_mib>? AND min_ram_mib<?)" in line for line in plan)


def test_images_changed_before_they_were_created_have_an_index() -> None:
    """Another one has both times of all images, and would be read whole."""
    by_change = (Order(Column.UPDATED_AT, descending=True),)
    plan = plan_of(ImageQuery(conditions=(RECENT,), order=by_change), None)

    assert any("images_redated" in line for line in plan)
    assert not any(line.startswith("SCAN") and "images_updated" in line for line in plan)


def test_the_beginning_of_an_order_is_read_as_it_is_needed() -> None:
    """Images are looked at until a page is full, and not gathered before."""
    query = ImageQuery(tags=("t",), order=BY_SIZE)
    run = single_run(query.order, query.conditions, None)
    assert run is not None

    plan = plan_of_statement(ListStatements(query, run, "sqlite").samples.beginning)

    assert any(line.startswith("CO-ROUTINE") for line in plan)
    assert not any("MATERIALIZE" in line for line in plan)
