"""The effective settings, with the source of each, as `imaged config` prints them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from imaged.cli import imaged as group
from imaged.config import load
from imaged.config.lines import line_of
from support.daemon import clean_environment

SAMPLE = Path(__file__).parents[2] / "config/imaged.toml"
CANARY = "canary-5d1f"
BUCKET = "[stores]\ndefault = 'cloud'\n[stores.cloud]\ntype = 's3'\nbucket = 'images'\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file; a drop-in overrides it."""
    file = tmp_path / "imaged.toml"
    file.write_text("[scrubber]\ndelay = '1h'\n[claims]\nlease = '90s'\n")
    drop_in = tmp_path / "conf.d/delay.toml"
    drop_in.parent.mkdir()
    drop_in.write_text("# longer\n[scrubber]\ndelay = '2h'\n")
    return file


def print_config(file: Path, *arguments: str, **environment: str) -> Result:
    """Call the command with this environment alone."""
    surroundings: dict[str, str | None] = dict.fromkeys(clean_environment(), None)
    return CliRunner(env=surroundings | environment).invoke(
        group, ["config", "--config", str(file), *arguments]
    )


def facts(file: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """What it tells programs of each setting, by name."""
    done = print_config(file, *arguments, "--json", **environment)
    assert done.exit_code == 0, done.output
    return {one["name"]: one for one in json.loads(done.stdout)["settings"]}


def test_each_source_is_named(file: Path) -> None:
    """The later one is used, and those that it overrides are named too."""
    delay = facts(file)["scrubber.delay"]
    assert (delay["value"], delay["source"]) == ("2h", "file")
    assert delay["place"] == f"{file.parent}/conf.d/delay.toml:3"
    assert delay["overridden"] == [f"{file}:2"]

    told = facts(file, "--command", "work", IMAGED_SCRUBBER__DELAY="3h")
    assert told["scrubber.delay"]["place"] == "IMAGED_SCRUBBER__DELAY"
    assert len(told["scrubber.delay"]["overridden"]) == 2
    assert (told["daemon.roles"]["value"], told["daemon.roles"]["place"]) == (
        ["tasks"],
        "imaged work",
    )
    assert (told["claims.lease"]["value"], told["claims.lease"]["default"]) == ("90s", "60s")
    assert told["claims.renew_every"]["source"] == "default"
    assert told["stores.local.path"]["value"] == "/var/lib/imaged/images"


def test_a_credential_of_systemd_is_a_source(file: Path, tmp_path: Path) -> None:
    """By its own name, which is that of the setting without _file."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/catalog.password").write_text(CANARY)
    told = facts(file, "password_file", CREDENTIALS_DIRECTORY=str(tmp_path / "credentials"))

    assert told["catalog.password_file"]["source"] == "credentials"
    assert told["catalog.password_file"]["place"] == "credential catalog.password"


@pytest.mark.parametrize("names", [("scrubber",), ("delay",), ("scrubber.delay",)])
def test_settings_are_chosen_by_name(file: Path, names: tuple[str, ...]) -> None:
    """By section, key or both; without defaults, only what is set."""
    assert "scrubber.delay" in facts(file, *names)
    assert all("scrubber" in name for name in facts(file, *names))
    assert set(facts(file, "--no-defaults")) == {"scrubber.delay", "claims.lease"}


def test_a_wrong_name_is_answered_with_similar_ones(file: Path) -> None:
    """By exit code 2."""
    done = print_config(file, "scruber.delay")

    assert done.exit_code == 2
    assert "Did you mean scrubber.delay" in done.output


@pytest.mark.parametrize("more", ["", BUCKET])
def test_the_output_is_a_settings_file(file: Path, tmp_path: Path, more: str) -> None:
    """It sets what was effective."""
    file.write_text(file.read_text() + more)
    printed = tmp_path / "printed.toml"
    printed.write_text(print_config(file).stdout)

    assert load(printed, {}) == load(file, {})
    assert tomllib.loads(printed.read_text())["scrubber"]["delay"] == "2h"


@pytest.mark.parametrize(
    ("more", "variables"),
    [
        ("", {"IMAGED_CATALOG__URL": f"postgresql://imaged:{CANARY}@db/imaged"}),
        ("", {"IMAGED_CATALOG__URL": f"postgresql://db/imaged?user=a&password={CANARY}"}),
        ("", {"IMAGED_CATALOG__URL": f"postgresql://db/imaged?sslpassword={CANARY}"}),
        (
            BUCKET,
            {
                "IMAGED_STORES__CLOUD__ACCESS_KEY": CANARY,
                "IMAGED_STORES__CLOUD__SECRET_KEY": CANARY,
            },
        ),
        (f"{BUCKET}access_key_file = '{CANARY}'\nsecret_key_file = '{CANARY}'\n", {}),
        (f"[api]\npublic_url = 'https://ann:{CANARY}@images.example.net'\n", {}),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_secret_is_printed(
    file: Path, more: str, variables: dict[str, str], form: tuple[str, ...]
) -> None:
    """Not even one that stands where the name of a file should; the source is."""
    file.write_text(file.read_text() + more)
    done = print_config(file, "--no-defaults", *form, **variables)

    assert done.exit_code == 0, done.output
    assert CANARY not in done.output
    assert all(name in done.stdout for name in variables)
    assert "not shown" in done.stdout or "without its password" in done.stdout


def test_each_line_of_the_sample_is_found() -> None:
    """The line of a setting is the one on which it stands."""
    text = SAMPLE.read_text()
    lines = text.splitlines()
    for section, values in tomllib.loads(text).items():
        for key in values:
            found = line_of(text, (section, key))
            assert found is not None
            assert lines[found - 1].startswith((f"{key} = ", f"[{section}.{key}]"))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a", "b"), 2),
        (("text",), 3),
        (("table", "inner", "deep"), 6),
        (("stores",), 7),
        (("stores", "local", "roles"), 8),
        (("stores", "local", "after"), 12),
        (("stores", "default"), 14),
        (("stores", "local", "missing"), 7),
        (("empty",), 15),
        (("no",), None),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_of_a_statement_is_its_first(
    path: tuple[str, ...], line: int | None, end: str
) -> None:
    """Whatever TOML allows over several lines."""
    text = end.join(
        [
            "# [no]",
            "a.b = 1",
            'text = """',
            "[no]",
            'no = 1"""',
            "table = { inner = { deep = 1 } }",
            "[stores.local]",
            "roles = [",
            "  # ]",
            '  "]", "api",',
            "]",
            "after = 1",
            "[stores]",
            "default = 'local'",
            "[empty]",
        ]
    )
    assert line_of(text, path) == line
