"""The clouds of clouds.yaml, and that of the variables ``OS_…``.

clouds.yaml, secure.yaml and clouds-public.yaml are found and understood as openstacksdk documents
them; a test compares both. The vendors that openstacksdk knows by itself are not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imaged.client.cloud_settings import FIXED_TOKEN, NO_TOKEN, read_settings
from imaged.client.errors import ProfileInvalid
from imaged.client.http_session import Endpoint
from imaged.client.keystone_account import Source

CLOUD_VARIABLE = "OS_CLOUD"
REGION_VARIABLE = "OS_REGION_NAME"
CLOUDS_FILE_VARIABLE = "OS_CLIENT_CONFIG_FILE"
SECURE_FILE_VARIABLE = "OS_CLIENT_SECURE_FILE"
VENDORS_FILE_VARIABLE = "OS_CLIENT_VENDOR_FILE"
AUTH_URL_VARIABLE = "OS_AUTH_URL"
IMAGED_TOKEN_VARIABLE = "IMAGED_TOKEN"  # noqa: S105 - its name
IMAGED_CA_FILE_VARIABLE = "IMAGED_CA_FILE"
YAML_SUFFIXES = (".yaml", ".yml", ".json")  # JSON is YAML

#: Variables that choose a cloud, and are no settings of one.
_SELECTORS = {"cloud", "cloud_name", "profile", "regions", "auth"}
#: Keys that are not in the table ``auth``.
_OUTER_KEYS = {"auth_type", "region_name", "interface", "cacert", "image_endpoint_override"}


@dataclass(frozen=True, slots=True)
class Clouds:
    """The clouds of a file, by name. ``file``: None without any."""

    tables: dict[str, Any] = field(default_factory=dict)
    file: Path | None = None


def read_cloud(name: str, environment: Mapping[str, str]) -> Endpoint:
    """The image service of a cloud of clouds.yaml. Raises ProfileInvalid, EndpointInvalid."""
    clouds = read_clouds(environment)
    cloud = clouds.tables.get(name)
    if not isinstance(cloud, dict):
        raise ProfileInvalid(
            f"clouds.yaml has no cloud {name}.",
            f"It has: {', '.join(map(str, clouds.tables)) or 'none'}. Set {CLOUD_VARIABLE} to one "
            f"of them, or {CLOUDS_FILE_VARIABLE} to the file that has it.",
        )
    cloud = _with_vendor(name, _normalized(cloud), environment)
    cloud = _in_region(name, cloud, environment.get(REGION_VARIABLE))
    return read_settings(cloud, Source(f"The cloud {name}", _key_in(clouds.file)))


def signs_in(environment: Mapping[str, str]) -> bool:
    """Whether the variables ``OS_…`` say how to sign in to Keystone, and no token is preferred."""
    without = NO_TOKEN + FIXED_TOKEN
    is_other = environment.get("OS_AUTH_TYPE") in without and bool(environment.get("OS_AUTH_TYPE"))
    return bool(environment.get(AUTH_URL_VARIABLE)) and not (
        is_other or environment.get(IMAGED_TOKEN_VARIABLE)
    )


def read_variables(environment: Mapping[str, str]) -> Endpoint:
    """The image service that the variables ``OS_…`` name, as the file openrc of a user sets them.

    Empty ones are as good as none. Raises ProfileInvalid, EndpointInvalid.
    """
    settings = {
        name.removeprefix("OS_").lower(): value
        for name, value in environment.items()
        if name.startswith("OS_") and value
    }
    settings = {key: value for key, value in settings.items() if key not in _SELECTORS}
    settings.setdefault("image_endpoint_override", settings.get("endpoint", ""))
    if trusted := environment.get(IMAGED_CA_FILE_VARIABLE):
        settings["cacert"] = trusted
    return read_settings(settings, Source("The environment", lambda key: f"OS_{key.upper()}"))


def _key_in(file: Path | None) -> Any:
    def key(name: str) -> str:
        place = name if name in _OUTER_KEYS else f"auth.{name}"
        return f"{place} in {file}"

    return key


def _with_vendor(
    name: str, cloud: dict[str, Any], environment: Mapping[str, str]
) -> dict[str, Any]:
    """The cloud with the settings of its vendor beneath, which clouds-public.yaml has."""
    vendor = cloud.pop("profile", None) or cloud.pop("cloud", None)
    if not vendor:
        return cloud
    public = _first_file("clouds-public", "public-clouds", VENDORS_FILE_VARIABLE, environment)
    settings = public.tables.get(vendor)
    if not isinstance(settings, dict):
        raise ProfileInvalid(
            f"The cloud {name} has the vendor profile {vendor}, which clouds-public.yaml has not.",
            "Write its settings into the cloud, and remove the profile; or into clouds-public.yaml "
            "beside clouds.yaml, in a table public-clouds.",
        )
    return _merged(_normalized(settings), cloud)


def _in_region(name: str, cloud: dict[str, Any], wanted: str | None) -> dict[str, Any]:
    """The cloud with what is different in the region: the wanted one, or the first."""
    regions = _regions_of(name, cloud)
    if not regions:
        return {**cloud, "region_name": wanted} if wanted else cloud
    if wanted and wanted not in regions:
        raise ProfileInvalid(
            f"The cloud {name} has no region {wanted}.",
            f"It has: {', '.join(regions)}. Set {REGION_VARIABLE} to one of them.",
        )
    region = wanted or next(iter(regions))
    there = {key: value for key, value in regions[region].items() if value is not None}
    return _merged({**cloud, "region_name": region}, there)


def _regions_of(name: str, cloud: Mapping[str, Any]) -> Mapping[str, dict[str, Any]]:
    """What is different in each region, by its name."""
    regions: dict[str, dict[str, Any]] = {}
    known: Any = cloud.get("regions", list(filter(None, [cloud.get("region_name")])))
    for region in known if isinstance(known, list) else [None]:
        match {"name": region} if isinstance(region, str) else region:
            case {"name": str(named), **others} if others in ({}, {"values": None}):
                regions[named] = {}
            case {"name": str(named), "values": dict(values), **others} if not others:
                regions[named] = _normalized(values)
            case _:
                raise ProfileInvalid(
                    f"In the cloud {name}, regions is no list of names, or of tables.",
                    "Give each table a name, and values for what is different there.",
                )
    return regions


def read_clouds(environment: Mapping[str, str]) -> Clouds:
    """The clouds of the first clouds.yaml, with what the first secure.yaml adds.

    Raises ProfileInvalid.
    """
    clouds = _first_file("clouds", "clouds", CLOUDS_FILE_VARIABLE, environment)
    secrets = _first_file("secure", "clouds", SECURE_FILE_VARIABLE, environment)
    return Clouds(_merged(clouds.tables, secrets.tables), clouds.file or secrets.file)


def _first_file(name: str, table: str, variable: str, environment: Mapping[str, str]) -> Clouds:
    """The clouds in the named file, or else in the first of the usual places that is there."""
    named = environment.get(variable)
    if named:
        return Clouds(_read_yaml(Path(named), table), Path(named))
    for folder in _openstack_folders(environment):
        for suffix in YAML_SUFFIXES:
            file = folder / f"{name}{suffix}"
            if file.is_file():
                return Clouds(_read_yaml(file, table), file)
    return Clouds()


def _openstack_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    yield Path.cwd()
    yield config_home(environment) / "openstack"
    yield Path.home() / ".config/openstack"
    for folder in environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        yield Path(folder) / "openstack"
    yield Path("/etc/openstack")


def _read_yaml(file: Path, table: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise ProfileInvalid(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, yaml.YAMLError) as error:  # whose text repeats lines, perhaps with a token
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", in line {mark.line + 1}"
        raise ProfileInvalid(f"{file} is not valid YAML{where}.") from None
    clouds = values.get(table) if isinstance(values, dict) else None
    if not isinstance(clouds, dict):
        raise ProfileInvalid(
            f"{file} has no table {table}.", "Add it, with a table for each cloud."
        )
    return clouds


def _merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in more.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            value = _merged(inner, value)  # noqa: PLW2901
        merged[key] = value
    return merged


def _normalized(values: dict[str, Any]) -> dict[str, Any]:
    """With _ for - in keys: openstacksdk allows both."""
    return {
        str(key).replace("-", "_"): _normalized(value) if isinstance(value, dict) else value
        for key, value in values.items()
    }


def config_home(environment: Mapping[str, str]) -> Path:
    """The user's folder of settings, by the XDG Base Directory Specification."""
    named = Path(environment.get("XDG_CONFIG_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".config"
