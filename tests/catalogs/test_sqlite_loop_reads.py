"""Short reads of SQLite on the event loop: when they are made there, and when in a thread."""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import Connection, text

from contracts.catalog_files import database_of, opened
from contracts.catalog_samples import queued, tag
from imaged.catalogs import image_rows
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.sqlite import page_cache
from imaged.catalogs.sqlite.catalog_file import migrate_once
from imaged.catalogs.sqlite.engine import make_engine
from imaged.catalogs.sqlite.loop_reader import CHECK_STEPS, LoopReader, MustWait
from imaged.catalogs.sqlite.page_cache import PageCache, is_in_memory
from imaged.core.errors import ImageNotFound
from imaged.core.limits import MIB
from imaged.core.list_plan import LIST_BUDGET

ENDLESS = text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
)
ONE = text("SELECT 1")


@pytest_asyncio.fixture
async def catalog(path: Path) -> AsyncIterator[SqlCatalog]:
    """Has one image."""
    async with opened(path) as catalog:
        await catalog.add_image(queued("i"))
        yield catalog


@pytest.fixture
def reader(path: Path) -> LoopReader:
    """On a migrated file."""
    migrate_once(path)
    return make_reader(path)


def make_reader(
    path: Path,
    longest_scan_seconds: float = 60,
    count_disk_reads: Callable[[], int] = lambda: 0,
) -> LoopReader:
    """A reader with a minute for each scan."""
    engine = make_engine(path, begin="", connections=1, busy_seconds=0)
    reader = LoopReader(engine, longest_scan_seconds, count_disk_reads)
    reader.connect()
    return reader


def thread_of(db: Connection) -> int:
    """A transaction that tells where it runs."""
    db.execute(ONE)
    return threading.get_ident()


class TestLoopReader:
    """A reader by itself."""

    def test_a_long_scan_is_interrupted_and_the_next_reads_go_elsewhere(self, path: Path) -> None:
        """A scan that never ends, ends."""
        reader = make_reader(path, longest_scan_seconds=0.01)
        with pytest.raises(MustWait):
            reader.read(lambda db: db.execute(ENDLESS).scalar())
        with pytest.raises(MustWait):
            reader.read(lambda db: db.execute(ONE).scalar())
        reader.close()

    def test_many_short_reads_are_not_taken_for_a_long_one(self, reader: LoopReader) -> None:
        """SQLite counts the steps of a statement over all of its executions."""
        for _ in range(CHECK_STEPS):
            assert reader.read(lambda db: db.execute(ONE).scalar()) == 1
        reader.close()

    def test_after_a_read_from_a_disk_others_go_elsewhere(self, path: Path) -> None:
        """It took long, and blocks were read."""
        migrate_once(path)
        reader = make_reader(path, count_disk_reads=iter(range(9)).__next__)
        reader.slow_seconds = 0
        assert reader.read(lambda db: db.execute(ONE).scalar()) == 1
        with pytest.raises(MustWait):
            reader.read(lambda db: db.execute(ONE).scalar())
        reader.close()

    def test_a_read_that_only_waited_for_a_processor_stops_no_other(
        self, reader: LoopReader
    ) -> None:
        """The machine is busy."""
        reader.slow_seconds = 0
        for _ in range(2):
            assert reader.read(lambda db: db.execute(ONE).scalar()) == 1
        reader.close()

    def test_what_the_transaction_raises_is_raised(self, reader: LoopReader) -> None:
        """A missing image is no reason to wait."""
        with pytest.raises(ImageNotFound):
            reader.read(partial(image_rows.read, image_id="missing"))
        assert reader.read(lambda db: db.execute(ONE).scalar()) == 1
        reader.close()

    def test_errors_of_sqlite_are_left_to_a_thread(self, reader: LoopReader) -> None:
        """Which knows how to tell them."""
        with pytest.raises(MustWait):
            reader.read(lambda db: db.execute(text("SELECT 1 FROM missing")))
        reader.close()

    def test_a_value_that_cannot_be_sent_stops_no_other_read(self, reader: LoopReader) -> None:
        """A client chose it."""
        with pytest.raises(MustWait):
            reader.read(partial(image_rows.read, image_id="\ud800"))
        assert reader.read(lambda db: db.execute(ONE).scalar()) == 1
        reader.close()

    def test_a_locked_file_is_not_waited_for(self, path: Path) -> None:
        """An exclusive lock, as a repair by hand takes it."""
        migrate_once(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN IMMEDIATE")
            reader = make_reader(path)
            with pytest.raises(MustWait):
                reader.read(partial(image_rows.read, image_id="missing"))
        reader.connect()
        with pytest.raises(ImageNotFound):
            reader.read(partial(image_rows.read, image_id="missing"))
        reader.close()


@pytest.mark.asyncio
class TestWhereReadsAreMade:
    """The database decides."""

    async def test_on_the_loop_if_the_file_is_in_memory(self, catalog: SqlCatalog) -> None:
        """The file was just written."""
        database = database_of(catalog)
        assert await database.read_short(thread_of) == threading.get_ident()
        assert (
            await database.read_list(thread_of, LIST_BUDGET, is_short=True) == threading.get_ident()
        )

    async def test_in_a_thread_if_a_list_may_be_long(self, catalog: SqlCatalog) -> None:
        """Its rows are converted where it is read."""
        assert await database_of(catalog).read_list(thread_of, LIST_BUDGET) != threading.get_ident()

    async def test_in_a_thread_if_the_file_is_not_in_memory(
        self, catalog: SqlCatalog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk that hangs stops no request but its own."""
        monkeypatch.setattr(page_cache, "MAX_BYTES", 0)
        database = database_of(catalog)
        database.page_cache.check()

        assert await database.read_short(thread_of) != threading.get_ident()
        assert (
            await database.read_list(thread_of, LIST_BUDGET, is_short=True) != threading.get_ident()
        )

    async def test_what_takes_long_is_read_again_in_a_thread(self, catalog: SqlCatalog) -> None:
        """The caller notices nothing."""
        threads: list[int] = []

        def scan(db: Connection) -> int:
            threads.append(threading.get_ident())
            is_first = len(threads) == 1
            return int(db.execute(ENDLESS if is_first else ONE).scalar_one())

        assert await database_of(catalog).read_short(scan) == 1
        assert threads[0] == threading.get_ident() != threads[1]

    async def test_a_read_sees_what_was_committed_before(self, catalog: SqlCatalog) -> None:
        """No state of an earlier read is kept."""
        assert (await catalog.get_image("i")).tags == ()
        await catalog.modify_image("i", tag("new"))
        assert (await catalog.get_image("i")).tags == ("new",)


class TestPageCache:
    """What the kernel says of real files."""

    def test_a_file_that_was_written_is_in_memory(self, tmp_path: Path) -> None:
        """Its pages are there until the kernel needs the memory."""
        written = tmp_path / "written"
        written.write_bytes(b"x" * MIB)
        assert is_in_memory(written, MIB)

    def test_a_page_that_was_never_read_is_not(self, tmp_path: Path) -> None:
        """Here it is a hole, which nothing has read."""
        sparse = tmp_path / "sparse"
        sparse.write_bytes(b"x" * MIB)
        with sparse.open("r+b") as file:
            file.truncate(2 * MIB)
        assert not is_in_memory(sparse, 2 * MIB)

    def test_a_longer_file_is_not_looked_at(self, tmp_path: Path) -> None:
        """Looking takes time for each page."""
        written = tmp_path / "written"
        written.write_bytes(b"x" * 100)
        assert not is_in_memory(written, 99)

    def test_a_missing_or_empty_file_has_no_page_on_a_disk(self, tmp_path: Path) -> None:
        """The write-ahead log often is."""
        log = tmp_path / "log"
        assert is_in_memory(log, MIB)
        log.touch()
        assert is_in_memory(log, MIB)

    def test_one_caller_checks_and_the_others_go_on(self, path: Path) -> None:
        """Both files must be in memory."""
        cache = PageCache(path)
        assert cache.is_check_due()
        assert not cache.is_check_due()
        assert not cache.is_in_memory

        path.write_bytes(b"x")
        cache.check()
        assert cache.is_in_memory

        with path.with_name(f"{path.name}-wal").open("wb") as log:
            log.truncate(MIB)
        cache.check()
        assert not cache.is_in_memory

    def test_a_look_keeps_the_locks_of_sqlite(self, path: Path) -> None:
        """A closed descriptor of the file would drop them, for all of this process."""
        path.write_bytes(b"x")
        cache, other = PageCache(path), PageCache(path)  # of two catalogs in one process
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            cache.check()
            other.check()
            cache.check()
            other.close()
            attempt = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), 6)"  # EX | NB
            done = subprocess.run(
                [sys.executable, "-c", attempt, path], capture_output=True, check=False
            )
        cache.close()
        assert b"BlockingIOError" in done.stderr
