"""Statements that find the first images of a run (``core/list_runs.py``).

Strategy. Visibility is an OR, and no index follows an OR in order: so each of its branches selects
its own first images, and the run begins with the first of those. A branch is found by the rarest
of its conditions, or in the order of the run (``core/list_plan.py``), and all other conditions are
checked. SQLite is told so by unary plus and CROSS JOIN, PostgreSQL by OFFSET 0: neither knows how
many images meet two conditions at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Join, TextClause, UnaryExpression, or_, select, union

from imaged.catalogs.dialects import SQLITE
from imaged.catalogs.list_expressions import join_beginning_with, row_id, row_of, unindexed
from imaged.catalogs.list_marker import marked_value
from imaged.catalogs.list_terms import (
    MAX_INTEGER,
    REDATED,
    Clause,
    ListTerms,
    Term,
    column_literal,
    condition_clause,
)
from imaged.catalogs.prepared import AnySelect
from imaged.catalogs.tables import images
from imaged.core.list_plan import (
    bounds_of,
    gather_limit,
    have_content,
    implied_by_times,
    possible_statuses,
    requires_a_value,
)
from imaged.core.list_runs import Marked, Run, Segment, segments, without_implied
from imaged.core.query import OF_CONTENT, Column, Condition, ImageQuery, Operator

Columns = Mapping[Column, ColumnElement[Any]]

#: For each branch the term that finds its images; None: the order of the run does.
Drivers = tuple[Term | None, ...]


class RunStatements:
    """The statements for a run of a list.

    ``redated``: only for images that were changed before they were created.
    """

    def __init__(
        self, query: ImageQuery, run: Run, limit: int, dialect: str, *, redated: bool = False
    ) -> None:
        self.dialect, self.limit = dialect, limit
        self._caller = query.caller
        self.terms = ListTerms(query, run, dialect)
        self._redated: RunStatements | None = None
        conditions = list(self.terms.of_key)
        implied = implied_by_times(run.key.column, query.conditions)
        if implied and not redated:
            self._redated = RunStatements(query, run, limit, dialect, redated=True)
            conditions += implied
        fixed = [Condition(name, Operator.ONE_OF, (value,)) for name, value in run.equal]
        statuses = possible_statuses([*query.conditions, *fixed], query.caller)
        if run.key.column is Column.STATUS and run.start is None:
            conditions += bounds_of(statuses)
        has_value = have_content(statuses) if run.key.column in OF_CONTENT else None
        if has_value is None and any(map(requires_a_value, conditions)):
            has_value = True
        self.run, self._of_key = without_implied(run, conditions)
        self.segments = segments(self.run, has_value=has_value)
        self.is_empty = not (statuses and self.segments and self.terms.branches)

    @property
    def order(self) -> Sequence[UnaryExpression[Any]]:
        """The order of the run, of rows of images."""
        return self.order_of(self.columns(None))

    def is_walked(self, term: Term) -> bool:
        """Whether the term finds images in the order of the run."""
        return self.run.key.column is Column.CREATED_AT and term.is_ordered

    def is_in_order(self, drivers: Drivers) -> bool:
        """Whether the table of images alone has the run, in its order."""
        (driver, *others) = drivers
        return (
            not others
            and len(self.segments) == 1
            and self._redated is None
            and self.terms.branches == [None]
            and (
                driver is None
                or (self.is_walked(driver) and driver.table is images and not driver.alternatives)
            )
        )

    def clauses_in_order(self, drivers: Drivers) -> Sequence[Clause | TextClause]:
        """The conditions on a row of images, if ``is_in_order``."""
        checks = self.checks(drivers[0], [None])
        return self._walking(drivers[0], checks, self.segments[0], self.columns(None))

    def ids(self, drivers: Drivers) -> Any:
        """The statement for the ids of the first images, and of others."""
        found = self.firsts(drivers)
        if self._redated is not None:
            branches = self.terms.branches
            found += self._redated.firsts((REDATED,) * len(branches))
        if len(found) == 1:
            return found[0]
        return union(*[select(first.subquery().c.id) for first in found])

    def columns(self, term: Term | None) -> Columns:
        """The columns of the order, in the table that has it."""
        found: dict[Column, ColumnElement[Any]] = {
            name: images.c[name] for name in self.run.columns
        }
        if term is not None and term.table is not images:
            found |= {Column.CREATED_AT: term.created_at, Column.ID: term.image_id}
        return found

    def order_of(self, columns: Columns) -> Sequence[UnaryExpression[Any]]:
        """The order of the run, of these columns."""
        return [
            in_order(columns[name], name, descending=self.run.key.descending)
            for name in self.run.columns
        ]

    def places(self, segment: Segment, columns: Columns) -> Sequence[Clause]:
        """The conditions on the columns of the order."""
        found = [condition_clause(one, columns[one.column]) for one in self._of_key]
        key = columns[self.run.key.column]
        if segment.has_value is not None and (not segment.behind or not segment.has_value):
            found.append(key.is_not(None) if segment.has_value else key.is_(None))
        if segment.behind:
            pairs = zip(segment.columns, segment.behind, strict=True)
            its = row_of(
                marked_value(name, self._caller)
                if isinstance(value, Marked)
                else column_literal(name, value)
                for name, value in pairs
            )
            mine = row_of(columns[name] for name in segment.columns)
            found.append(mine < its if self.run.key.descending else mine > its)
        return found

    def firsts(self, drivers: Drivers) -> list[AnySelect]:
        """The first images of each segment, for all branches with the same driver at once."""
        branches: dict[Term | None, list[Term | None]] = defaultdict(list)
        for branch, driver in zip(self.terms.branches, drivers, strict=True):
            branches[driver].append(branch)
        return [
            self._first(driver, walked, those, segment)
            for driver, those in branches.items()
            for walked in self._walks(driver)
            for segment in self.segments
        ]

    def _walks(self, driver: Term | None) -> Sequence[Term | None]:
        """The terms that have the images of the driver in order, each its part of them."""
        if driver is None or not (driver.alternatives and self.is_walked(driver)):
            return [driver]
        return driver.alternatives

    def _first(
        self,
        driver: Term | None,
        walked: Term | None,
        branches: Sequence[Term | None],
        segment: Segment,
    ) -> AnySelect:
        if driver is not None and not self.is_walked(driver):
            return self._sorted(driver, branches, segment)
        columns = self.columns(driver)
        found = select(columns[Column.ID].label("id")).select_from(images)
        if driver is not None and driver.table is not images:
            is_of = driver.image_id == images.c.id
            joined = join_beginning_with(driver.table, images, is_of)
            found = select(columns[Column.ID].label("id")).select_from(joined)
        checks = self.checks(driver, branches)
        found = found.where(*self._walking(walked, checks, segment, columns))
        return found.order_by(*self.order_of(columns)).limit(self.limit)

    def _walking(
        self,
        walked: Term | None,
        checks: Sequence[Clause],
        segment: Segment,
        columns: Columns,
    ) -> Sequence[Clause | TextClause]:
        found = [] if walked is None else [walked.found]
        return [*found, *self.places(segment, columns), *checks]

    def _sorted(self, driver: Term, branches: Sequence[Term | None], segment: Segment) -> AnySelect:
        """The first of few images, which are all read."""
        columns = {name: unindexed(images.c[name]) for name in self.run.columns}
        keys = [images.c[name].label(f"key_{name}") for name in self.run.columns]
        conditions = [*self.places(segment, columns), *self.checks(driver, branches)]
        found = select(images.c.id, *keys)
        if driver.table is images and self.dialect != SQLITE:  # it has statistics
            found = found.where(driver.found, *conditions)
        else:
            found = found.select_from(self._few(driver)).where(*conditions)
        gathered = found.offset(0).subquery()
        sorted_by = {name: gathered.c[f"key_{name}"] for name in self.run.columns}
        return select(gathered.c.id).order_by(*self.order_of(sorted_by)).limit(self.limit)

    def _few(self, driver: Term) -> Join:
        """The rows of a driver with their images, found in no other way."""
        of_images = driver.table is images
        found_by = row_id(images, self.dialect) if of_images else driver.image_id
        few = select(found_by.label("found")).select_from(driver.table).where(driver.found)
        if driver is REDATED:  # in the order of its index: another one has both times of all images
            few = few.order_by(images.c.created_at, images.c.id).limit(MAX_INTEGER)
        else:
            few = few.limit(2 * gather_limit(self.limit))  # some may have been added since
        rows = few.subquery()
        its = row_id(images, self.dialect) if of_images else images.c.id
        return join_beginning_with(rows, images, rows.c.found == its)

    def checks(self, driver: Term | None, branches: Sequence[Term | None]) -> Sequence[Clause]:
        """The conditions that are checked of what the driver finds, for these branches."""
        found = [*self.terms.unindexed]
        found += [term.holds for term in self.terms.filters if term is not driver]
        if driver is not None and driver.also is not None:
            found.append(driver.also)
        terms = [branch for branch in branches if branch is not None]
        if terms and driver not in terms:
            found.append(or_(*[term.holds for term in terms]))
        return found


def in_order(column: ColumnElement[Any], name: Column, *, descending: bool) -> UnaryExpression[Any]:
    """A key of an order. What has no value comes first, and last if the order descends."""
    expression = column.desc() if descending else column.asc()
    if not images.c[name].nullable:
        return expression
    return expression.nulls_last() if descending else expression.nulls_first()
