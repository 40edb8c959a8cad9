"""The recorded rules of Glance are those of its package."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.glance_policies import RECORD

#: Prints the rules; the package needs no more than oslo.policy and oslo.log for them.
PRINT_RULES = """
import json, sys
sys.path.insert(0, sys.argv[1])
from glance import policies
print(json.dumps({
    rule.name: {"check": rule.check_str, "scopes": rule.scope_types or []}
    for rule in policies.list_rules()
}))
"""


@pytest.mark.clients
@pytest.mark.timeout(300)
def test_the_record_is_what_the_package_has(tmp_path: Path) -> None:
    """Names, rules and scopes; if a test changes the version, it says what is new."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    subprocess.run([*pip, str(tmp_path), "glance==33.0.0"], check=True)
    (wheel,) = tmp_path.glob("glance-*.whl")
    package = tmp_path / "package"
    zipfile.ZipFile(wheel).extractall(package)
    printed = subprocess.run(
        [sys.executable, "-c", PRINT_RULES, str(package)], check=True, capture_output=True
    )

    assert json.loads(printed.stdout) == json.loads(RECORD.read_text())
