"""``imaged migrate --from``: an installation moves to PostgreSQL, and its stores stay its own."""

from __future__ import annotations

from asyncio import to_thread
from functools import partial

import pytest

from support.command import Workspace, serving
from support.postgresql import empty_database


@pytest.mark.asyncio
async def test_an_installation_moves_to_postgresql(workspace: Workspace) -> None:
    """Not while a daemon runs; then a daemon on the other database serves the same image from the
    same store, which nothing had to adopt.
    """
    async with empty_database() as url:
        await to_thread(move, workspace, url)


def move(workspace: Workspace, url: str) -> None:
    """Move from the file of the workspace to the database."""
    at_new = partial(workspace.imaged, IMAGED_CATALOG__URL=url)
    copy = partial(at_new, "migrate", "--from", f"sqlite:///{workspace.catalog}")
    with serving(workspace.file) as daemon:
        image = daemon.create_image(name="moved")
        assert daemon.upload(image, b"bytes") == 204
        refused = copy()
        assert daemon.end() == 0

    done = copy()
    again = copy()

    assert (refused.returncode, done.returncode, again.returncode) == (1, 0, 1)
    assert "Instances use this catalog" in refused.stderr
    assert done.stdout.startswith("Copied 1 image ")
    assert "There is a catalog in catalog.url already" in again.stderr
    assert at_new("check-config").returncode == 0
    assert "1 blob compared: 0 strays, 0 doomed, 0 missing." in at_new("reconcile").stdout
    with serving(workspace.file, IMAGED_CATALOG__URL=url) as daemon:
        assert daemon.show(f"/v2/images/{image}")["name"] == "moved"
        assert daemon.ask(f"/v2/images/{image}/file") == (200, b"bytes")


def test_a_password_is_not_typed(workspace: Workspace) -> None:
    """All users see command lines."""
    done = workspace.imaged("migrate", "--from", "postgresql://imaged:made-up@db/imaged")

    assert done.returncode == 2
    assert "PGPASSWORD" in done.stderr
    assert "made-up" not in done.stderr


def test_a_new_catalog_is_not_made_over_one(workspace: Workspace) -> None:
    """Whatever is confirmed: it would have none of the images of the old one."""
    assert workspace.imaged("migrate").returncode == 0
    done = workspace.imaged("migrate", "--new-catalog", "--yes")
    assert done.returncode == 2
    assert "--new-catalog is for a catalog.url without a catalog" in " ".join(done.stderr.split())
