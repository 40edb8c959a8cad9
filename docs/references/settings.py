"""The reference page of all settings, from the sections of the configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator

from imaged.config.layers import variable
from imaged.config.model import TABLE_TYPES, TABLES
from imaged.config.sections import Section, is_reloadable, is_secret, settings_in

_HEAD = """\
# Settings

Made from the code by `make docs`; do not edit.

`/etc/imaged/imaged.toml` (or the file that `--config` names) is read first, then every
`conf.d/*.toml` beside it in the order of their names, then the environment. Later values
override earlier ones, key by key. Unknown keys are errors. `imaged check-config` checks, and
`imaged config` prints the effective settings with the place that each comes from.

Durations are strings with units (`w`, `d`, `h`, `m`, `s`, `ms`): `"30s"`, `"1h30m"`.
Sizes too (`B`, `KiB` … `PiB`, `KB` … `PB`): `"256MiB"`, `"1TB"`. `"0"` is valid for both.
Relative paths of a file begin at its folder, those of the environment at the working directory.
A setting marked with ↻ is applied by `systemctl reload imaged` (SIGHUP); others need a restart.
One marked with ⚿ is a secret, and must not be in a settings file: put it in the environment, or in
a credential of systemd with the name of the setting, such as `stores.cloud.secret_key`.
"""


def reference() -> str:
    """The page, in Markdown."""
    lines = [_HEAD]
    for path, model in TABLES.items():
        lines += _table(path, model)
        for kind, table in TABLE_TYPES.get(path[0], {}).items():
            lines += _table((*path, "NAME"), table, f'type = "{kind}"')
    return "\n".join(lines)


def _table(path: tuple[str, ...], model: type[Section], which: str = "") -> Iterator[str]:
    yield f"## [{'.'.join(path)}]{which and f' with {which}'}\n"
    yield f"{model.__doc__}\n"
    settings = settings_in(model)
    if not settings:
        return
    yield "| setting | default | variable | |"
    yield "|---|---|---|---|"
    for name, field in settings.items():
        mark = " ↻" if is_reloadable(field) else " ⚿" if is_secret(field) else ""
        default = "" if field.is_required() or is_secret(field) else f"`{_as_toml(field.default)}`"
        yield f"| `{name}`{mark} | {default} | `{variable((*path, name))}` | {field.description} |"
    yield ""


def _as_toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
