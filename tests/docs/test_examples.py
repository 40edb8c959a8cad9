"""What pages tell people to type works, and shows what they say."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.disk_images import qcow2, raw
from support.page_claims import HERE, pages_of, typed_in
from support.page_examples import ROOT, Step, blocks
from support.page_host import PageHost
from support.page_runner import PageRunner

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

#: Ann of the project web and Ben of the project shop have tokens.
TWO_PROJECTS = (
    "imaged token --user ann --project web --role member > etc/tokens.toml && mv token ann.token",
    "imaged token --user ben --project shop --role member >> etc/tokens.toml && mv token ben.token",
    "echo [auth] > etc/conf.d/tokens.toml",
    "echo 'method = \"token\"' >> etc/conf.d/tokens.toml",
    'echo token_file = \\"$PWD/etc/tokens.toml\\" >> etc/conf.d/tokens.toml',
    "systemctl restart imaged",
    f"until curl -s {IMAGES}; do sleep 0.1; done",
)

OF_ANN = '-H "X-Auth-Token: $(cat ~/ann.token)"'

#: Pages for root that can be typed too, with what must be there before.
PLAYED: Mapping[str, Sequence[str]] = {
    "docs/how-to/authenticate.md": (),
    "docs/how-to/limit-projects.md": (),
    "docs/how-to/describe-properties.md": (),
    "docs/how-to/let-web-pages-upload.md": (
        "imaged token --user ann --project web --role member > etc/tokens.toml",
    ),
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
    "docs/how-to/send-notifications.md": (),
    "docs/how-to/set-permissions.md": (
        "imaged token --user ann --project web --role member > etc/tokens.toml",
    ),
    "docs/how-to/share-images.md": (
        *TWO_PROJECTS,
        f"curl -sf {IMAGES} {OF_ANN} -H 'Content-Type: application/json' -d '{json.dumps(GOLDEN)}'",
    ),
    "docs/how-to/tune-the-scrub-delay.md": (),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", FOLLOWED)
def test_a_reader_gets_what_the_page_says(page: str, tmp_path: Path) -> None:
    """He pastes one block after the other; each command succeeds and shows what is shown. The
    tutorial leaves nothing beside var and Python's caches, and `make clean` removes all of it.
    """
    with PageRunner(tmp_path) as reader:
        before = files_in(tmp_path)
        for block in typed_in(HERE, page):
            reader.follow(block)

        made = {path.parts[0] for path, _ in files_in(tmp_path) - before}
        if page == TUTORIAL:
            assert made - OF_THE_READER == {"var"}
            (tmp_path / "config/__pycache__").mkdir()
            assert reader.type("kill $DAEMON; wait $DAEMON; make clean")[0] == 0
            left = {path.parts[0] for path, _ in files_in(tmp_path) - before}
            assert left <= OF_THE_READER
            assert not [*tmp_path.rglob("__pycache__"), *tmp_path.glob(".venv")]


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
        host.follow_page(HERE, page)


def test_each_page_of_this_test_is_typed() -> None:
    """By one of the two above."""
    assert {*FOLLOWED, *PLAYED} == {*pages_of(HERE)}


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
