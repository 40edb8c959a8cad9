"""Cross-site requests of a browser to a daemon without authentication."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.command import Workspace, serving

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
WANTED = json.dumps({"name": "from a page"}).encode()


def test_only_programs_are_administrators(workspace: Workspace) -> None:
    """Pages of other sites can neither read nor write; programs can."""
    with serving(workspace.file) as daemon:

        def status(method: str, body: bytes | None = None, **headers: str) -> int:
            return daemon.ask("/v2/images", method, body, **headers)[0]

        assert status("GET", Host="rebound.example:9292") == 421
        assert status("POST", WANTED, Host="rebound.example") == 421
        assert status("GET", Host="192.0.2.7:9292") == 421  # not where it listens
        assert status("POST", WANTED, Origin="https://page.example") == 403
        assert status("POST", WANTED, Sec_Fetch_Site="cross-site") == 403
        assert status("POST", WANTED, Content_Type=FORM) == 415
        assert status("POST", WANTED, Content_Type="text/plain") == 415
        assert json.loads(daemon.ask("/v2/images")[1])["images"] == []
        assert status("POST", WANTED, Content_Type=JSON, Accept="") == 201
        assert daemon.ask("/readyz", Host="any.example")[0] == 200  # reveals nothing


@pytest.mark.parametrize(
    ("variables", "own", "strange"),
    [
        (
            {"IMAGED_API__PUBLIC_URL": "https://images.example.org"},
            "images.example.org",
            "other.example.org",
        ),
        (
            {"IMAGED_AUTH__ALLOW_ANYONE_ON_THE_NETWORK": "true"},
            "192.0.2.7:9292",
            "rebound.example",
        ),
    ],
)
def test_other_names_are_told(
    workspace: Workspace, variables: dict[str, Any], own: str, strange: str
) -> None:
    """The configuration determines the accepted host names."""
    with serving(workspace.file, **variables) as daemon:
        assert daemon.ask("/v2/images", Host=own)[0] == 200
        assert daemon.ask("/v2/images", Host=strange)[0] == 421
