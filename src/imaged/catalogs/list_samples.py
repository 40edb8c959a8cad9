"""Counts how many images the conditions of a list find, up to a limit, to decide by which of them
the list is read (``core/list_plan.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Connection,
    Integer,
    Select,
    cast,
    func,
    literal_column,
    null,
    select,
    union_all,
)

from imaged.catalogs.dialects import Instant
from imaged.catalogs.list_expressions import join_beginning_with, row_estimate, row_id
from imaged.catalogs.list_statements import Drivers, RunStatements
from imaged.catalogs.list_terms import Term
from imaged.catalogs.prepared import AnySelect, PreparedSelect
from imaged.catalogs.tables import images
from imaged.core.list_plan import (
    EXPECTED_IMAGES,
    SAMPLE_IMAGES,
    Candidate,
    are_gathered,
    begins_well,
    choose,
    count_limit,
    gather_limit,
)
from imaged.core.query import Column

_ALL, _BY_KEY = -1, -2  # numbers of what is no term: all images, and those that the key finds
_NEVER = cast(null(), Instant)


class ListSamples:
    """Decides for the statements of a run."""

    def __init__(self, run: RunStatements) -> None:
        self._run = run
        self._terms = [*run.terms.filters, *filter(None, run.terms.branches)]
        self._statement: PreparedSelect | None = None
        self._beginning: PreparedSelect | None = None
        self._many: PreparedSelect | None = None

    def choose_drivers(self, db: Connection, values: Mapping[str, Any]) -> Drivers:
        """What finds the images of each branch. Counts only if that is not certain.

        ``values``: those of the statement's parameters.
        """
        choices = [self._choices(branch) for branch in self._run.terms.branches]
        if all(self._is_certain(those) for those in choices):
            return tuple(those[0] if those else None for those in choices)
        drivers = self.rarest(db, values)
        return self._gathered(db, values) if None in drivers else drivers

    def rarest(self, db: Connection, values: Mapping[str, Any]) -> Drivers:
        """What has few images of each branch, or has them far apart in the order of creation; None
        if nothing does, and no other term then, because all branches are read at once.
        """
        if self._statement is None:
            self._statement = PreparedSelect(self._count(), only_estimates=True)
        found = {
            number: Candidate(count, reach)
            for number, count, reach in self._statement.rows(db, values)
        }
        counted = {term: found[number] for number, term in enumerate(self._terms)}
        others = [found[_BY_KEY]] if _BY_KEY in found else []
        total = found[_ALL].count if found[_ALL].count > 0 else EXPECTED_IMAGES
        branches = self._run.terms.branches
        drivers = [self._chosen(self._choices(one), counted, others, total) for one in branches]
        # What finds the images of one branch finds those of all, and is read once.
        filters: list[Term | None] = [None, *self._run.terms.filters]
        common = [term for term in filters if term in drivers]
        return tuple(common[:1] * len(drivers) or drivers)

    def _gathered(self, db: Connection, values: Mapping[str, Any]) -> Drivers:
        """What finds the images if none of a branch are few: the order of the run, of all branches
        at once; or the rarest terms, if the beginning of that order has too few images.
        """
        branches, limit = self._run.terms.branches, self._run.limit
        if self._beginning is None:
            self._beginning = PreparedSelect(self.beginning, only_estimates=True)
            self._many = PreparedSelect(self._count_many(), only_estimates=True)
        [(hits, looked_at)] = self._beginning.rows(db, values)
        if begins_well(hits, looked_at, limit) or self._many is None:
            return (None,) * len(branches)
        counts = [count for _, count in sorted(map(tuple, self._many.rows(db, values)))]
        filters = self._run.terms.filters
        if filters:
            cost = min(counts)
            drivers: Drivers = (filters[counts.index(cost)],) * len(branches)
        else:
            cost, drivers = sum(counts), tuple(branches)
        return drivers if are_gathered(cost, hits, limit) else (None,) * len(branches)

    def _chosen(
        self,
        terms: Sequence[Term],
        counted: Mapping[Term, Candidate],
        others: Sequence[Candidate],
        total: int,
    ) -> Term | None:
        candidates = [*(counted[term] for term in terms), *others]
        descending = self._run.run.key.descending
        chosen = choose(candidates, self._run.limit, total, descending=descending)
        return None if chosen is None or chosen >= len(terms) else terms[chosen]

    def _choices(self, branch: Term | None) -> Sequence[Term]:
        """The terms that can find the images of a branch."""
        return [*self._run.terms.filters, *([] if branch is None else [branch])]

    def _is_certain(self, choices: Sequence[Term]) -> bool:
        """Nothing but the order finds them, or one thing, in order."""
        return not choices or (len(choices) == 1 and self._run.is_walked(choices[0]))

    def _count(self) -> CompoundSelect[*tuple[Any, ...]]:
        parts = [_row(_ALL, row_estimate(images, self._run.dialect), _NEVER)]
        parts += [self._sample(number, term) for number, term in enumerate(self._terms)]
        run = self._run
        if run.terms.of_key and run.run.key.column is not Column.CREATED_AT:
            rows: Select[Any] = select(literal_column("1")).select_from(images)
            rows = rows.where(*run.places(run.segments[0], run.columns(None)))
            parts.append(_counted(_BY_KEY, rows.limit(self._most)))
        return union_all(*parts)

    @property
    def beginning(self) -> AnySelect:
        """How many of the first images of the order are in the list, up to a page; of how many."""
        run = self._run
        columns = run.columns(None)
        walked = select(row_id(images, run.dialect).label("walked")).select_from(images)
        walked = walked.where(*run.places(run.segments[0], columns))
        first = walked.order_by(*run.order_of(columns)).limit(SAMPLE_IMAGES).subquery()
        is_it = first.c.walked == row_id(images, run.dialect)
        found: Select[Any] = (
            select(literal_column("1"))
            .select_from(join_beginning_with(first, images, is_it))
            .where(*run.checks(None, run.terms.branches))
            .limit(run.limit)
        )
        looked_at = select(func.count()).select_from(first.alias("looked_at")).scalar_subquery()
        return select(func.count(), looked_at).select_from(found.subquery())

    def _count_many(self) -> CompoundSelect[*tuple[Any, ...]]:
        """How many images each filter finds, or each branch; up to more than are gathered."""
        most = gather_limit(self._run.limit) + 1
        return union_all(
            *[
                select(literal_column(str(number), Integer), func.count()).select_from(
                    select(literal_column("1"))
                    .select_from(term.table)
                    .where(term.found)
                    .limit(most)
                    .subquery()
                )
                for number, term in enumerate(self._run.terms.filters or self._terms)
            ]
        )

    @property
    def _most(self) -> int:
        return count_limit(self._run.limit) + 1

    def _sample(self, number: int, term: Term) -> AnySelect:
        """How many images a term finds; and how far back they reach, if it has them in order."""
        if not self._run.is_walked(term):
            found: Select[Any] = (
                select(literal_column("1")).select_from(term.table).where(term.found)
            )
            return _counted(number, found.limit(self._most))
        run = self._run
        walks = [self._walk(one) for one in term.alternatives or [term]]
        sample = walks[0].subquery()
        if len(walks) > 1:
            merged = union_all(*[select(walk.subquery().c.at) for walk in walks]).subquery()
            at = merged.c.at.desc() if run.run.key.descending else merged.c.at
            sample = select(merged.c.at).order_by(at).limit(self._most).subquery()
        edge = func.min if run.run.key.descending else func.max
        return _row(number, func.count(), edge(sample.c.at, type_=Instant())).select_from(sample)

    def _walk(self, term: Term) -> AnySelect:
        """The creation times of the first images that a term finds, in order."""
        run = self._run
        columns = run.columns(term)
        rows = select(term.created_at.label("at")).select_from(term.table)
        rows = rows.where(term.found, *run.places(run.segments[0], columns))
        return rows.order_by(*run.order_of(columns)).limit(self._most)


def _counted(number: int, rows: AnySelect) -> AnySelect:
    return _row(number, func.count(), _NEVER).select_from(rows.subquery())


def _row(number: int, count: ColumnElement[int], reach: ColumnElement[Any]) -> AnySelect:
    return select(
        literal_column(str(number), Integer).label("term"),
        cast(count, BigInteger).label("images"),
        reach.label("reach"),
    )
