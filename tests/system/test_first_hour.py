"""The page for the first hour of an operator, typed on a machine that was just installed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from support.booted import Machine
from support.disk_images import qcow2
from support.page_examples import ROOT

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PAGE = ROOT / "docs/how-to/first-hour.md"
INSTALLED = "## Minutes 6"  # before it, the page says what made the machine
FILE_OR_BLOCK = re.compile(
    r"`(?P<file>/etc/\S+)`|^```(?P<kind>toml|console)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)

#: What is typed instead of what the page says: there is neither a terminal nor curl.
MEANT = {
    "192.0.2.10": "127.0.0.1",
    "admin > /etc/imaged/tokens.toml": "admin > /etc/imaged/tokens.toml 2> /srv/told",
    "read -rs IMAGED_TOKEN": "IMAGED_TOKEN=$(sed 's/.*: //' /srv/told)",
    "restore ID": "restore $(imaged pending --json | grep -oE -m1 '[0-9a-f]{8}-[0-9a-f-]{27}')",
    "curl -s": "python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read())'",
    "debian-12.qcow2": "/srv/debian-12.qcow2",
}


def script() -> Iterator[str]:
    """The commands of the page, and its settings written to the files that it names."""
    file = ""
    for found in FILE_OR_BLOCK.finditer(PAGE.read_text().partition(INSTALLED)[2]):
        if found["file"]:
            file = found["file"]
        elif found["kind"] == "toml":
            yield f"cat > {file} <<'END'\n{found['text']}END"
        else:
            yield from re.findall(r"(?m)^# (.*)$", found["text"])


def test_the_first_hour_ends_well(machine: Machine) -> None:
    """Each command succeeds, in one shell: a user's image is there again, and so is a backup."""
    machine.systemctl("enable", "--now", "imaged")
    machine.path("/srv/debian-12.qcow2").write_bytes(qcow2())
    commands = "\n".join(script())
    for said, meant in MEANT.items():
        assert said in commands, said
        commands = commands.replace(said, meant)

    machine.run("bash", "-ec", commands)

    assert len([*machine.path("/var/lib/imaged/backups").glob("2*")]) == 1
    assert machine.show("imaged-backup.timer", "ActiveState") == "active"
    assert "delay" in machine.path("/etc/imaged/conf.d/scrubber.toml").read_text()
    status = machine.run("imaged", "status", "--json")
    assert '"active": 1' in status
