"""``uploads.checksum`` on a machine without md5."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaged.config import ConfigInvalid, images, load


def test_a_machine_without_md5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake names what to write; that is accepted."""
    monkeypatch.setattr(images, "is_supported_algorithm", lambda name: name != "md5")
    file = tmp_path / "imaged.toml"
    file.write_text("[uploads]\nhash_algorithm = 'sha256'\n")
    with pytest.raises(ConfigInvalid, match='must be "none" here'):
        load(file, {})
    file.write_text("[uploads]\nchecksum = 'none'\nhash_algorithm = 'sha256'\n")
    assert load(file, {}).uploads.checksum == "none"
