"""The filesystem store, with a power cut after any of its calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from contracts.store_bodies import Verdict, body, new_key, some_bytes
from contracts.store_crashes import CrashModel, moments
from contracts.store_faulty_disks import Call, TracedDisk
from contracts.store_folder import store_on
from imaged.core.limits import KIB
from imaged.lanes import InlineLane
from imaged.stores.filesystem.store import FilesystemStore

pytestmark = pytest.mark.asyncio

DATA = some_bytes(20 * KIB)
RENAMES = [(), ("rename",)]  # a disk that has the call, and one that lacks it


async def _store(root: Path, disk: TracedDisk) -> FilesystemStore:
    store = store_on(root, disk, InlineLane, flush_every_bytes=8 * KIB)
    await store.check()
    disk.trace.clear()
    return store


async def _trace_put(root: Path, key: str, without: Sequence[str] = ()) -> list[Call]:
    disk = TracedDisk(without=without)
    store = await _store(root, disk)
    await store.put(key, body(DATA, 4 * KIB))
    return disk.trace


def _is_whole_or_absent(model: CrashModel, path: Path) -> bool:
    return all(state.get(path, {DATA}) == {DATA} for state in model.outcomes())


def _is_whole_after(trace: Iterable[Call], path: Path, data: bytes = DATA) -> bool:
    return all(state.get(path) == {data} for state in _last(trace).outcomes())


def _last(trace: Iterable[Call]) -> CrashModel:
    *_, model = moments(trace)
    return model


def _is_absent(model: CrashModel, paths: Iterable[Path]) -> bool:
    return not any({*paths} & {*state} for state in model.outcomes())


@pytest.mark.parametrize("without", RENAMES, ids=["rename", "link"])
async def test_a_put_survives_every_cut(root: Path, without: Sequence[str]) -> None:
    """Until it returns, the blob is complete or not visible; afterwards it is complete."""
    key = new_key()

    trace = await _trace_put(root, key, without)

    assert len(trace) > 10
    for number, model in enumerate(moments(trace)):
        assert _is_whole_or_absent(model, root / key), trace[:number]
    assert _is_whole_after(trace, root / key)


async def test_holes_survive_every_cut(root: Path) -> None:
    """Zeros that were never written are as durable as data, also at the end of the file."""
    data = some_bytes(64 * KIB) + bytes(128 * KIB) + some_bytes(KIB) + bytes(256 * KIB)
    key, disk = new_key(), TracedDisk()
    store = await _store(root, disk)

    await store.put(key, body(data, 256 * KIB))

    assert any(call.name == "ftruncate" for call in disk.trace)
    for number, model in enumerate(moments(disk.trace)):
        states = [state.get(root / key, {data}) for state in model.outcomes()]
        assert all(state == {data} for state in states), disk.trace[:number]
    assert _is_whole_after(disk.trace, root / key, data)


@pytest.mark.parametrize("lost", ["fsync of the file", "fsync of the folder"])
async def test_the_model_sees_what_is_not_synced(root: Path, lost: str) -> None:
    """The same trace without one of its syncs is detected, so the test above can fail."""
    key = new_key()
    trace = await _trace_put(root, key)
    of_file, of_folder = [call for call in trace if call.name == "fsync"]

    worse = [call for call in trace if call is not (of_file if "file" in lost else of_folder)]

    assert not _is_whole_after(worse, root / key)


@pytest.mark.parametrize("without", RENAMES, ids=["rename", "link"])
async def test_a_delete_survives_every_cut(root: Path, without: Sequence[str]) -> None:
    """After it returned, no name of the blob can reappear; before, the blob is complete or gone."""
    key, disk = new_key(), TracedDisk(without=without)
    store = await _store(root, disk)
    await store.put(key, body(DATA, 4 * KIB))
    await store.delete(key)

    for number, model in enumerate(moments(disk.trace)):
        assert _is_whole_or_absent(model, root / key), disk.trace[:number]
    assert _is_absent(_last(disk.trace), [root / key, root / ".tmp" / key[3:]])


async def test_a_batch_of_deletes_survives_a_cut(root: Path) -> None:
    """After it returned, no name of any of the blobs can reappear; each folder was synced once."""
    keys, disk = [new_key(), new_key()], TracedDisk()
    store = await _store(root, disk)
    for key in keys:
        await store.put(key, body(DATA, 4 * KIB))
    calls = len(disk.trace)
    assert set(await store.delete_batch(keys)) == set(keys)

    names = [path for key in keys for path in (root / key, root / ".tmp" / key[3:])]
    assert _is_absent(_last(disk.trace), names)
    syncs = [call for call in disk.trace[calls:] if call.name == "fsync"]
    assert len(syncs) == len({key[:2] for key in keys}) + 1


async def test_the_remains_of_a_failure_do_not_come_back(root: Path) -> None:
    """The delete of a write that failed is as durable as any other."""
    key, disk = new_key(), TracedDisk()
    store = await _store(root, disk)
    with pytest.raises(Verdict):
        await store.put(key, body(DATA, 4 * KIB, ending=Verdict("no")))

    for model in moments(disk.trace):
        assert _is_absent(model, [root / key])

    await store.delete(key)

    assert _is_absent(_last(disk.trace), [root / key, root / ".tmp" / key[3:]])
