"""The policy file: an operator's rules in place of the defaults, in YAML or JSON.

It is the file that Glance reads: a mapping of names to rules in the policy language. What Glance
reads in another way than its author meant is an error here: a name that is there twice, a rule
without a value, an exclamation mark without quotes (a tag of YAML).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imaged.config.model import Config
from imaged.core.errors import ImagedError
from imaged.core.policy import InvalidRule, Policy
from imaged.core.policy_rules import ADMIN, Rule

if TYPE_CHECKING:  # few configurations have such a file
    import yaml

_MAX_BYTES = 1024 * 1024
_STRING_TAG = "tag:yaml.org,2002:str"


class PolicyFileInvalid(ImagedError):
    """The policy file is invalid. The text names the file, the rule and the column."""

    needs_correction = True


@dataclass(frozen=True, slots=True)
class _Line:
    """A rule of the file, and the line of its beginning, from 1."""

    text: str
    number: int


def read_policy(config: Config) -> Policy:
    """The rules of this configuration. Raises PolicyFileInvalid."""
    file = Path(config.auth.policy_file) if config.auth.policy_file else None
    lines = {} if file is None else _read(file)
    tasks = {str(Rule.TASKS_API_ACCESS): ADMIN} if config.tasks.access == "admins" else {}
    try:
        return Policy({**tasks, **{name: line.text for name, line in lines.items()}})
    except InvalidRule as error:
        line = lines.get(error.rule)
        place = f"the default rule {error.rule!r}" if line is None else _place(line, error)
        end = "" if str(error).endswith("?") else "."
        raise PolicyFileInvalid(f"The policy file {file}, {place}: {error}{end}") from error


def _place(line: _Line, error: InvalidRule) -> str:
    column = "" if error.column is None else f", column {error.column}"
    return f"line {line.number}, rule {error.rule!r}{column}"


def _read(file: Path) -> Mapping[str, _Line]:
    import yaml

    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise PolicyFileInvalid(
            f"The policy file {file} cannot be read: {error.strerror}."
        ) from error
    if len(content) > _MAX_BYTES:
        raise PolicyFileInvalid(f"The policy file {file} is larger than 1 MiB.")
    try:
        root = yaml.compose(content, yaml.SafeLoader)  # of JSON too: it is YAML
    except (yaml.YAMLError, ValueError) as error:
        why = " ".join(str(error).split())
        raise PolicyFileInvalid(f"The policy file {file} is no YAML or JSON: {why}.") from error
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise PolicyFileInvalid(f"The policy file {file} must be a mapping of names to rules.")
    return dict(_lines(file, root))


def _lines(file: Path, root: yaml.MappingNode) -> Iterator[tuple[str, _Line]]:
    import yaml

    seen: set[str] = set()
    for key, value in root.value:
        number = key.start_mark.line + 1
        name = str(key.value)
        place = f"The policy file {file}, line {number}, rule {name!r}"
        if name in seen:
            raise PolicyFileInvalid(f"{place}: it is there twice.")
        seen.add(name)
        if not isinstance(value, yaml.ScalarNode) or value.tag != _STRING_TAG:
            raise PolicyFileInvalid(
                f'{place}: it must be a text. Put it between quotes; "@" permits a call to all, '
                'and "!" to none.'
            )
        yield name, _Line(value.value, number)
