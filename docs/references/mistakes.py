"""The page of mistakes: each setting gets wrong values, and imaged says what is wrong."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaged.config import ConfigInvalid, Problem, load
from imaged.config.model import TABLE_TYPES, TABLES
from imaged.config.sections import settings_in
from references.markdown import MADE, code, table

FILE_NAME = "imaged.toml"

#: What settings are given, until each has said all that it can say.
WRONG_VALUES: Sequence[object] = (
    "nonsense",
    "",
    -1,
    0,
    10**9,
    1.5,
    True,
    [],
    ["nonsense"],
    ["127.0.0.1:70000"],
    "0",
    "0200",
    "1s",
    "1KiB",
    "1MiB",
    "99999d",
    "99999PiB",
    "http://host:70000",
    "http://[host",
    ["https://host:443"],
    ["https://host/"],
    [70000],
    [0],
    "sqlite:///var/lib/imaged/catalog.db",
    "postgresql://imaged:made-up@db/imaged",
    {"a": "table"},
)

_FOLDER = 'type = "filesystem"\npath = "/srv"\n'
_BUCKET = 'type = "s3"\nbucket = "images"\n'

#: Tables that a mistake in a store or a destination needs around it.
_TABLES = {"filesystem": _FOLDER, "s3": _BUCKET}

_KEYSTONE = '[auth]\nmethod = "keystone"\n'
_CREDENTIAL = '[auth.keystone]\nurl = "https://host:5000"\napplication_credential_id = "made-up"\n'

#: Mistakes of several settings, and of whole files.
COMBINED: Sequence[str] = (
    '[api]\nbind = ["0.0.0.0:9292"]\n',
    '[api]\nbind = ["127.0.0.1:9292", "127.0.0.1:9292"]\n',
    '[api.cors]\nallowed_origins = ["https://horizon.example.net"]\n',
    '[auth]\nmethod = "token"\n',
    _KEYSTONE,
    f'{_KEYSTONE}[auth.keystone]\nurl = "https://host:5000"\nusername = "imaged"\n',
    f"{_KEYSTONE}{_CREDENTIAL}",
    f'{_KEYSTONE}{_CREDENTIAL}username = "imaged"\n',
    '[auth.keystone]\npassword = "made-up"\n',
    '[auth.keystone]\nurl = [""]\n',
    '[claims]\nlease = "20s"\n',
    '[metrics]\nbind = ["api"]\n',
    '[metrics]\nbind = ["127.0.0.1:9292"]\n',
    '[stores]\ndefault = "far"\n',
    f"[stores.Far]\n{_FOLDER}[stores.local]\n{_FOLDER}",
    f'[stores]\ndefault = "a"\n[stores.a]\n{_FOLDER}[stores.b]\n{_FOLDER}',
    f'[stores]\ndefault = "a"\n[stores.a]\n{_BUCKET}[stores.b]\n{_BUCKET}',
    '[stores.local]\ntype = "s3"\n',
    '[stores.local]\ntype = "s3"\nbucket = "images"\naccess_key_file = "a"\n',
    f'[stores.local]\n{_BUCKET}access_key = "made-up"\nsecret_key = "made-up"\n',
    '[exports.archive]\ntype = "filesystem"\n',
    '[exports.archive]\ntype = "filesystem"\npath = "/var/lib/imaged/images"\n',
    f"[exports.Far]\n{_FOLDER}",
    '[notifications]\nurl = "https://billing.example.net/images"\n',
    '[notifications]\ntimeout = "201s"\n',
    '[uplods]\nmax_size = "1TiB"\n',
    "uploads = 3\n",
    "[uploads\n",
)


@dataclass(frozen=True, slots=True)
class Example:
    """A file with one mistake, and what imaged says."""

    text: str
    problem: Problem

    @property
    def answer(self) -> str:
        """The sentence, with the name of the file alone."""
        return str(self.problem).replace(f"{Path(self.problem.origin).parent}/", "")


def examples() -> Iterator[Example]:
    """One example for each kind of mistake in each section, and those of several settings."""
    with tempfile.TemporaryDirectory() as folder:
        for path, model in TABLES.items():
            name = ".".join(path)
            if name not in TABLE_TYPES:
                yield from _examples_of(Path(folder), f"[{name}]\n", sorted(settings_in(model)))
            for kind, section in TABLE_TYPES.get(name, {}).items():
                settings = sorted({*section.model_fields} - {"type"})
                yield from _examples_of(Path(folder), f"[{name}.local]\n", settings, _TABLES[kind])
        for text in COMBINED:
            for problem in _problems(Path(folder), text):
                yield Example(text, problem)


def _examples_of(
    folder: Path, head: str, settings: Sequence[str], others: str = ""
) -> Iterator[Example]:
    seen = set()
    for setting in [*settings, "unknown"]:
        lines = others.splitlines(keepends=True)
        before = head + "".join(line for line in lines if not line.startswith(f"{setting} ="))
        for value in WRONG_VALUES:
            text = f"{before}{setting} = {_toml(value)}\n"
            problems = _problems(folder, text)
            kind = problems[0].what.replace(setting, "") if len(problems) == 1 else ""
            if kind and kind not in seen:
                seen.add(kind)
                yield Example(text, problems[0])


def _problems(folder: Path, text: str) -> Sequence[Problem]:
    file = folder / FILE_NAME
    file.write_text(text)
    try:
        load(file, {})
    except ConfigInvalid as error:
        return error.problems
    return ()


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


_HEAD = f"""\
# Mistakes in settings

{MADE}

For operators who look for a sentence that they were shown. There is one row for each kind of
mistake in each section: wrong values were given to each setting. `imaged check-config` prints the
answer, with the path of the file; services log it as `daemon.start_failed` and exit with 78. It
names the file, the line, the value (unless it may be a secret) and what would be right.
"""


def reference() -> str:
    """The page, in Markdown."""
    rows = [("<br>".join(map(code, one.text.splitlines())), one.answer) for one in examples()]
    return f"{_HEAD}\n{table(('what is written', 'what imaged says'), rows)}"
