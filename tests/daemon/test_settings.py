"""Components get their settings from the configuration, and each setting from one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticUserError

from imaged.config.sections import Section, setting
from imaged.core.limits import KIB, MIB
from imaged.daemon import settings
from imaged.daemon.settings import settings_for
from support.settings import ALL_SETTINGS, config_of


class DoorSection(Section):
    """Of a door."""

    width: int = setting(7, "How wide it is.")
    colour: str = setting("red", "Its paint.")


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Of the component: one setting, and one constant."""

    width: int
    hinges: int = 2


@dataclass(frozen=True, slots=True)
class LockedDoorSettings:
    """With a field that no section has."""

    width: int
    keys: int


@dataclass(frozen=True, slots=True)
class TwiceSettings:
    """With a default of its own for a setting."""

    width: int = 8


def test_a_field_takes_the_setting_of_its_name() -> None:
    """And a field with a default stays as it is, unless it is a setting."""
    assert settings_for(DoorSection(), DoorSettings) == DoorSettings(7, 2)
    assert settings_for(DoorSection(), LockedDoorSettings, keys=3) == LockedDoorSettings(7, 3)
    assert settings_for(DoorSection(), DoorSettings, width=1) == DoorSettings(1, 2)


def test_a_field_without_a_source_stops_the_start() -> None:
    """So does a translation that the component does not have."""
    with pytest.raises(TypeError, match="keys"):
        settings_for(DoorSection(), LockedDoorSettings)
    with pytest.raises(TypeError, match="locks"):
        settings_for(DoorSection(), DoorSettings, locks=1)


def test_a_second_default_stops_the_start() -> None:
    """Otherwise the two may differ."""
    with pytest.raises(TypeError, match=r"TwiceSettings\.width"):
        settings_for(DoorSection(), TwiceSettings)


def test_limits_of_records_reach_images_and_tasks(tmp_path: Path) -> None:
    """One setting of the properties of images limits those of an image that a task makes."""
    config = config_of(
        tmp_path, "[uploads]\nmax_properties_size = '3KiB'\n[api]\nmax_page_size = '2MiB'"
    )
    limits = settings.record_limits(config)
    assert (limits.max_properties_bytes, limits.max_page_bytes) == (3 * KIB, 2 * MIB)
    assert settings.task_service_settings(config).max_properties_bytes == 3 * KIB


def test_all_settings_are_examined_here() -> None:
    """Those that the daemon fills from the configuration."""
    kinds = {name for name, kind in vars(settings).items() if isinstance(kind, type)}
    filled = {name for name in kinds if name.endswith(("Settings", "Limits", "Policy"))}

    assert filled <= {kind.__name__ for kind in ALL_SETTINGS}
    assert len(filled) > 12


@pytest.mark.parametrize("kind", ALL_SETTINGS, ids=lambda kind: kind.__name__)
def test_each_field_gets_a_value_of_its_type(kind: type[Any]) -> None:
    """Names that match by accident, such as a path and a text, need a translation."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        value = getattr(ALL_SETTINGS[kind], field.name)
        _validator(hints[field.name]).validate_python(value, strict=True)


def _validator(hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a dataclass, which has a configuration of its own
        return TypeAdapter(hint)
