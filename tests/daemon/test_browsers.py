"""Cross-site requests of a browser to a daemon without authentication."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import Workspace, serving

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
WANTED = json.dumps({"name": "from a page"}).encode()


def test_only_programs_are_administrators(tmp_path: Path) -> None:
    """Pages of other sites can neither read nor write; programs can."""
    with serving(Workspace(tmp_path).write()) as daemon:

        def status(method: str, body: bytes | None = None, **headers: str) -> int:
            return daemon.ask("/v2/images", method, body, **headers)[0]

        assert status("GET", Host="rebound.example:9292") == 421
        assert status("POST", WANTED, Host="rebound.example") == 421
        assert status("POST", WANTED, Origin="https://page.example") == 403
        assert status("POST", WANTED, Sec_Fetch_Site="cross-site") == 403
        assert status("POST", WANTED, Content_Type=FORM) == 415
        assert status("POST", WANTED, Content_Type="text/plain") == 415
        assert json.loads(daemon.ask("/v2/images")[1])["images"] == []
        assert status("POST", WANTED, Content_Type=JSON, Accept="") == 201
        assert daemon.ask("/readyz", Host="any.example")[0] == 200  # reveals nothing


@pytest.mark.parametrize(
    ("more", "host", "status"),
    [
        ('[api]\npublic_url = "https://images.example.org"', "images.example.org", 200),
        ('[api]\npublic_url = "https://images.example.org"', "other.example.org", 421),
        ("[auth]\nallow_anyone_on_the_network = true", "192.0.2.7:9292", 200),
        ("[auth]\nallow_anyone_on_the_network = true", "rebound.example", 421),
    ],
)
def test_other_names_are_told(tmp_path: Path, more: str, host: str, status: int) -> None:
    """The configuration determines the accepted host names."""
    workspace = Workspace(tmp_path)
    workspace.write()
    file = workspace.file.read_text()
    section = more.partition("\n")[0]
    workspace.file.write_text(file.replace(section, more) if section in file else file + more)
    with serving(workspace.file) as daemon:
        assert daemon.ask("/v2/images", Host=host)[0] == status
