"""Which test types the commands of each page: every block is typed by exactly one.

A page's blocks belong to the test that the table names. A comment before a block may name another
one: ``<!-- tested: PATH -->``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from support.page_examples import ROOT, Block, blocks

TESTED = "tested: "
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: A reader with a clone, and an operator whose machine is played by scripts.
HERE = "tests/docs/test_examples.py"
#: Root, on a machine with systemd.
MACHINE = "tests/system/test_pages.py"

TYPED_BY: Mapping[str, str] = {
    "README.md": HERE,
    "docs/tutorial.md": HERE,
    "docs/how-to/authenticate.md": HERE,
    "docs/how-to/back-up.md": MACHINE,
    "docs/how-to/describe-properties.md": HERE,
    "docs/how-to/diagnose.md": MACHINE,
    "docs/how-to/export-images.md": MACHINE,
    "docs/how-to/first-hour.md": MACHINE,
    "docs/how-to/import-images.md": "tests/interop/test_openstack.py",
    "docs/how-to/install.md": MACHINE,
    "docs/how-to/limit-projects.md": HERE,
    "docs/how-to/let-web-pages-upload.md": HERE,
    "docs/how-to/monitor.md": MACHINE,
    "docs/how-to/move-a-store.md": MACHINE,
    "docs/how-to/push-and-pull.md": HERE,
    "docs/how-to/read-the-log.md": MACHINE,
    "docs/how-to/restore-an-image.md": HERE,
    "docs/how-to/run-several-instances.md": MACHINE,
    "docs/how-to/run-tasks.md": HERE,
    "docs/how-to/run-under-systemd.md": MACHINE,
    "docs/how-to/runbooks.md": MACHINE,
    "docs/how-to/send-notifications.md": HERE,
    "docs/how-to/set-permissions.md": HERE,
    "docs/how-to/share-images.md": HERE,
    "docs/how-to/tune-the-scrub-delay.md": HERE,
    "docs/how-to/upgrade.md": MACHINE,
    "docs/how-to/use-keystone.md": "tests/interop/test_keystone_page.py",
    "docs/how-to/use-openstack-clients.md": "tests/interop/signed_in/test_page.py",
    "docs/how-to/use-postgresql.md": MACHINE,
    "docs/how-to/use-s3.md": MACHINE,
}

#: Commands that no test types, by their beginning, and why.
NOT_TYPED: Mapping[tuple[str, str], str] = {
    ("README.md", "$ python3 -m venv var/client"): "it downloads what the tests have",
    ("README.md", "$ make test "): "it runs the tests",
    ("README.md", "$ make check"): "it checks the code; `.ci/run` runs it before the tests",
    ("README.md", "$ make test-all"): "it runs the tests",
}


def typist(block: Block) -> str | None:
    """The test that types a block; None: no test does."""
    if block.mark.startswith(TESTED):
        return block.mark.removeprefix(TESTED)
    return TYPED_BY.get(block.page)


def typed_in(test: str, page: str) -> Iterator[Block]:
    """The blocks of a page that a test types, without the commands that no test types."""
    exceptions = tuple(command for where, command in NOT_TYPED if where == page)
    for block in blocks(ROOT / page):
        if typist(block) == test:
            steps = (one for one in block.steps if not one.command.startswith(exceptions))
            yield replace(block, steps=tuple(steps))


def pages_of(test: str) -> list[str]:
    """The pages of which a test types something."""
    pages = [str(page.relative_to(ROOT)) for page in PAGES]
    return [page for page in pages if any(typed_in(test, page))]
