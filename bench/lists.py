"""Times lists of large catalogs, each with two sizes: what they cost should not grow.

python -m bench.lists --images 10000 --images 1000000 --pairs

The catalogs are made once, in the folder that ``--folder`` names (a million images take minutes and
2 GB), or in databases of PostgreSQL that exist and are empty: ``--catalog postgresql://…/small
--catalog postgresql://…/large``. No server is between: what is timed is the catalog. With SQLite
this process does all of the work, and its processor time is taken; a server's time is by the clock.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from starlette.datastructures import QueryParams

from bench.listed_images import PROJECTS, fill
from imaged.api.listing import read_listing
from imaged.catalogs.connect import is_new, open_catalog
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.sqlite.driver import SqliteDatabase
from imaged.core.access import Caller
from imaged.core.errors import ImagedError
from imaged.core.image import Image
from imaged.core.query import SORTABLE, Column, ImageQuery
from imaged.ports.catalog import Catalog

MAX_PAGE_BYTES = 8 << 20
ROUNDS = 9  # of which the first is not counted
SLOW_SECONDS = 0.5  # one round more, and no other
PAGE = 26  # a page of 25, and the next one's first
DEEP_PAGE = 300

CALLERS = {role: Caller("bench", PROJECTS[1], frozenset({role})) for role in ("admin", "member")}
FILTERS = (
    *("tag=weekly", "tag=lts", "tag=pinned", "os_type=linux", "architecture=x86_64"),
    *("hw_accelerator=fpga", "no_such=1", "name=release-7", "name=image-77"),
    *("status=active", "status=queued", "status=in:saving,uploading"),
    *("visibility=public", "visibility=shared", "visibility=private", "visibility=community"),
    *("visibility=all", "member_status=pending", "member_status=all"),
    *(f"owner={PROJECTS[1]}", f"owner={PROJECTS[2]}", "protected=true", "os_hidden=true"),
    *("disk_format=iso", "disk_format=in:vhd,vmdk", "container_format=docker"),
    *("size_min=3000000000", "size_max=300000000", "virtual_size_min=20000000000"),
    *("min_ram=512", "min_ram_max=512", "min_disk_min=10"),
    *("created_at=gt:2025-01-01T00:00:00Z", "created_at=lt:2022-01-01T00:00:00Z"),
    *("updated_at=gt:2025-06-01T00:00:00Z", "updated_at=lt:2022-01-01T00:00:00Z"),
    *("checksum=00", "os_hash_algo=sha512", "os_hash_algo=md5", "os_hash_value=00"),
)
ORDERS = tuple(
    f"sort={'size' if key is Column.SIZE else key}:{direction}"
    for key, direction in product(SORTABLE, ("asc", "desc"))
)


@dataclass(frozen=True, slots=True)
class Timed:
    """A list: its p50 in milliseconds, in the small and in the large catalog."""

    caller: str
    parameters: str
    small: float
    large: float

    @property
    def growth(self) -> float:
        """How many times as long it takes in the large catalog."""
        return self.large / self.small


def lists(*, pairs: bool) -> Iterator[str]:
    """The parameters of all lists: each filter and order alone, and with each other."""
    yield ""
    yield from (*FILTERS, *ORDERS)
    if pairs:
        yield from ("&".join(pair) for pair in product(FILTERS, ORDERS))
        for one, other in combinations(FILTERS, 2):
            name = one.partition("=")[0]
            if name == "tag" or name != other.partition("=")[0]:
                yield f"{one}&{other}"
        for one, other in product(ORDERS, repeat=2):
            if one.partition(":")[0] != other.partition(":")[0]:
                yield f"{one},{other.removeprefix('sort=')}"


@click.command()
@click.option("--images", type=int, multiple=True, default=(10_000, 1_000_000), help="Two numbers.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("bench-lists"))
@click.option("--catalog", multiple=True, help="Two PostgreSQL databases, instead of the folder.")
@click.option("--pairs", is_flag=True, help="Pairs of filters and orders, too: some minutes.")
@click.option("--shown", default=30, help="How many of the slowest are shown.")
def main(
    images: Sequence[int], folder: Path, catalog: Sequence[str], *, pairs: bool, shown: int
) -> None:
    """Time lists in a small and in a large catalog."""
    folder.mkdir(exist_ok=True)
    urls = catalog or [f"sqlite:///{folder.absolute() / str(count)}.db" for count in images]
    asyncio.run(_measure(list(zip(urls, images, strict=True)), pairs=pairs, shown=shown))


async def _measure(catalogs: Sequence[tuple[str, int]], *, pairs: bool, shown: int) -> None:
    console = Console()
    opened: list[SqlCatalog] = []
    for url, count in catalogs:
        if await is_new(url):
            console.print(f"making {count:,} images")
            await fill(url, count)
        opened.append(await open_catalog(url))
    small, large = opened
    timed: list[Timed] = []
    for role, caller in CALLERS.items():
        for parameters in lists(pairs=pairs):
            query = _query(caller, parameters)
            timed.append(
                Timed(role, parameters, await _p50(small, query), await _p50(large, query))
            )
        for parameters in ORDERS:
            query = _query(caller, parameters)
            deep = replace(query, after=await _last_before(large, query))
            name = f"{parameters}, page {DEEP_PAGE} : 1"
            timed.append(Timed(role, name, await _p50(large, query), await _p50(large, deep)))
    for one in opened:
        await one.close()
    _show(console, timed, shown)


def _query(caller: Caller, parameters: str) -> ImageQuery:
    return replace(read_listing(caller, QueryParams(parameters)).query, limit=PAGE)


async def _p50(catalog: Catalog, query: ImageQuery) -> float:
    """The median in milliseconds; of a list that is refused, until it was."""
    is_here = isinstance(getattr(catalog, "database", None), SqliteDatabase)
    now = time.process_time if is_here else time.perf_counter
    taken: list[float] = []
    while len(taken) < ROUNDS and (len(taken) < 2 or taken[-1] < SLOW_SECONDS):
        began = now()
        try:
            await catalog.list_page(query, MAX_PAGE_BYTES)
        except ImagedError:
            return (now() - began) * 1000
        taken.append(now() - began)
    return statistics.median(taken[1:]) * 1000


async def _last_before(catalog: Catalog, query: ImageQuery) -> Image | None:
    """The last image of the page before the deep one."""
    last: Image | None = None
    pages_at_once = 10
    wide = replace(query, limit=(PAGE - 1) * pages_at_once)
    for _ in range((DEEP_PAGE - 1) // pages_at_once):
        found = await catalog.list_page(replace(wide, after=last), MAX_PAGE_BYTES)
        last = found.images[-1] if found.images else last
    return last


def _show(console: Console, timed: Sequence[Timed], shown: int) -> None:
    table = Table("caller", "list", "small, ms", "large, ms", "large : small")
    for one in sorted(timed, key=lambda one: -one.large)[:shown]:
        cells = (f"{value:.1f}" for value in (one.small, one.large, one.growth))
        table.add_row(one.caller, one.parameters or "–", *cells)
    console.print(table)
    for name, limit, values in (
        ("over 50 ms", 50, [one.large for one in timed]),
        ("over 3 times", 3, [one.growth for one in timed]),
    ):
        console.print(f"{name}: {sum(value > limit for value in values)} of {len(timed)}")


if __name__ == "__main__":
    main()
