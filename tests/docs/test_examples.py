"""What pages tell people to type works, and shows what they say."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.disk_images import qcow2, raw
from support.page_examples import ROOT, Block, Step, blocks
from support.page_host import PageHost
from support.page_runner import PageRunner

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN, TESTED = "not run: ", "tested: "

#: Pages whose blocks are typed, from the first to the last, into one shell.
TUTORIAL = "docs/tutorial.md"
FOLLOWED = ("README.md", TUTORIAL)

#: Of the reader's terminals, and of the home that is in the clone.
OF_THE_READER = {"terminal.log", ".cache"}

IMAGES = "http://127.0.0.1:9292/v2/images"
GOLDEN = {
    "id": "1064a2d0-b4d3-4ce3-92ab-7e5d8befd90d",
    "name": "golden-12",
    "owner": "web",
    "disk_format": "raw",
    "container_format": "bare",
}
OCTETS = "-H 'Content-Type: application/octet-stream'"

FILES = {"debian-12.qcow2": qcow2(), "disk.raw": raw(), "disk.raw.gz": gzip.compress(raw())}
ELSEWHERE_IS_HERE = {"https://images.example.net": "http://127.0.0.1:9292", "/srv/images": "srv"}

#: Pages for root that can be typed too, with what must be there before.
PLAYED: Mapping[str, Sequence[str]] = {
    "docs/how-to/authenticate.md": (),
    "docs/how-to/push-and-pull.md": (
        "mkdir srv && mkdir ~/.config && echo made-up > ~/.config/imaged-token",
        "chmod 600 ~/.config/imaged-token",
        f"curl -sf {IMAGES} -H 'Content-Type: application/json' -d '{json.dumps(GOLDEN)}'",
    ),
    "docs/how-to/restore-an-image.md": (
        f"curl -sf {IMAGES} -H 'Content-Type: application/json' -d '{json.dumps(GOLDEN)}'",
        f"head -c 20M /dev/zero | curl -sf -T - {OCTETS} {IMAGES}/{GOLDEN['id']}/file",
        f"curl -sf -X DELETE {IMAGES}/{GOLDEN['id']}",
    ),
    "docs/how-to/run-tasks.md": (
        f"curl -sf {IMAGES} -H 'Content-Type: application/json' -d '{json.dumps(GOLDEN)}'",
        f"head -c 20M /dev/zero | curl -sf -T - {OCTETS} {IMAGES}/{GOLDEN['id']}/file",
    ),
    "docs/how-to/tune-the-scrub-delay.md": (),
}

_MACHINE = "needs root and systemd, on a machine of its own; tests/system boots one"
_SERVERS = "needs a service of its own; the contracts of stores and catalogs have one"

#: Pages whose blocks are not typed here, and why.
LEFT: Mapping[str, str] = {
    "docs/how-to/diagnose.md": "tells of one machine; tests/cli/test_doctor.py has many",
    "docs/how-to/first-hour.md": _MACHINE,
    "docs/how-to/install.md": _MACHINE,
    "docs/how-to/read-the-log.md": "needs the journal; tests/system reads it",
    "docs/how-to/run-several-instances.md": _MACHINE,
    "docs/how-to/run-under-systemd.md": _MACHINE,
    "docs/how-to/upgrade.md": "needs two versions; tests/contracts has them",
    "docs/how-to/use-postgresql.md": _SERVERS,
    "docs/how-to/use-s3.md": _SERVERS,
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", FOLLOWED)
def test_a_reader_gets_what_the_page_says(page: str, tmp_path: Path) -> None:
    """He types one block after the other; each command succeeds and shows what is shown. The
    tutorial leaves nothing beside var, as it says.
    """
    with PageRunner(tmp_path) as reader:
        before = files_in(tmp_path)
        for block in blocks(ROOT / page):
            if not block.mark.startswith((NOT_RUN, TESTED)):
                reader.follow(block)

    made = {path.parts[0] for path, _ in files_in(tmp_path) - before}
    if page == TUTORIAL:
        assert made - OF_THE_READER == {"var"}


def files_in(folder: Path) -> set[tuple[Path, int]]:
    """The files below a folder, each with its size, but not those of the virtual environment."""
    return {
        (path.relative_to(folder), path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and ".venv" not in path.parts and path.name != "shell.log"
    }


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", PLAYED)
def test_an_operator_gets_what_the_page_says(page: str, tmp_path: Path) -> None:
    """He writes the settings and types the blocks, one after the other."""
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    with PageHost(tmp_path, ELSEWHERE_IS_HERE) as host:
        for command in PLAYED[page]:
            assert host.type(command)[0] == 0
        host.follow_page(ROOT / page, without=(NOT_RUN, TESTED))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_untyped_blocks_have_a_reason(page: Path) -> None:
    """Every block is typed by a test that is there, or a page or the table above says why not."""
    name = str(page.relative_to(ROOT))
    unexplained = [block for block in blocks(page) if not _is_explained(name, block)]

    assert not unexplained
    for block in blocks(page):
        if block.mark.startswith(TESTED):
            assert (ROOT / block.mark.removeprefix(TESTED)).exists()


def _is_explained(page: str, block: Block) -> bool:
    if block.mark.startswith((NOT_RUN, TESTED)):
        return True
    if page in FOLLOWED:
        return not block.is_for_root
    return page in PLAYED or page in LEFT


@pytest.mark.parametrize("page", LEFT)
def test_no_reason_is_left_over(page: str) -> None:
    """The table above names pages that are there and have blocks."""
    assert list(blocks(ROOT / page))


@pytest.mark.parametrize(
    ("shown", "output", "is_right"),
    [
        ("OK", "OK\n", True),
        ("OK", "not OK\n", False),
        ("a  b", "a      b\n", True),
        ("first\n…\nlast", "first\nmiddle\nlast\n", True),
        ("first\n…", "second\n", False),
        (
            "00000000-0000-4000-8000-000000000000 is active again.",
            "1064a2d0-b4d3-4ce3-92ab-7e5d8befd90d is active again.\n",
            True,
        ),
        ("1064a2d0-b4d3-4ce3-92ab-7e5d8befd90d", "none", False),
        ("2026-11-20T05:49:57Z", "2027-01-01T00:00:00Z", True),
    ],
)
def test_how_output_is_compared(shown: str, output: str, is_right: bool) -> None:
    """Ids and moments are any; what is left out is anything; the rest is as it is shown."""
    assert Step("$ true", shown).is_shown_by(output) is is_right


def test_there_is_one_way_to_install() -> None:
    """The short one in the README is the one that the page about it explains."""
    short = [block.steps for block in blocks(ROOT / "README.md") if block.is_for_root]
    explained = next(blocks(ROOT / "docs/how-to/install.md"))

    assert short == [explained.steps]
