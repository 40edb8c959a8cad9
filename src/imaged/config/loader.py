"""Build a Config from the layers, or report all problems."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imaged import DEFAULT_CONFIG_FILE
from imaged.config.exports import overlaps
from imaged.config.layers import (
    Layer,
    layer_that_set,
    merge_layers,
    read_environment,
    read_files,
)
from imaged.config.model import SECTIONS, Config, KeyPath
from imaged.config.problems import ConfigInvalid, Mistake, Problem, describe_error, unknown_key
from imaged.config.secrets import misplaced_secrets, read_credentials
from imaged.config.stores import StoresSection
from imaged.config.types import API_ADDRESSES

_UNAUTHENTICATED_ADDRESS = (
    "{address} can be reached from the network, and auth.method is none: every client would be an "
    "administrator. Choose another method, bind to loopback or to a unix socket, or set "
    "auth.allow_anyone_on_the_network"
)

_METRICS_OPEN_TO_ALL = (
    'must be set if metrics.bind has "api": else every client of the API, through a proxy too, '
    'could read the metrics. Or give them an address of their own, such as "127.0.0.1:9293"'
)

_EXPORT_OVERLAPS_STORE = (
    "the destination {name} and the store {store} must not be in the same place, or one in the "
    "other: an exported file could be mistaken for an image there"
)


def load(
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    default_file: Path = DEFAULT_CONFIG_FILE,
) -> Config:
    """Read the file, its drop-ins, credentials and the environment.

    ``default_file`` is read without ``file``, and may be missing.

    Raises ConfigInvalid with every problem.
    """
    layers, problems = read_layers(file, environment, default_file)
    merged = merge_layers(layers)
    problems += _unknown_sections(merged, layers)
    sections: dict[str, Any] = {}
    for name, model in SECTIONS.items():
        values = merged.get(name, {})
        if model is StoresSection and isinstance(values, Mapping):
            values = _with_default_store(values)
        try:
            sections[name] = model.model_validate(values)
        except ValidationError as error:
            for details in error.errors():
                mistake = describe_error(name, details, values)
                problems.append(layer_that_set(mistake.path, layers).problem(mistake))
    problems += [
        layer_that_set(path, layers).problem(Mistake(path, what))
        for path, what in _cross_section_problems(sections)
    ]
    if problems:
        raise ConfigInvalid(problems)
    return Config(**sections)


def read_layers(
    file: Path | None, environment: Mapping[str, str], default_file: Path
) -> tuple[list[Layer], list[Problem]]:
    """Read everything that ``load`` reads, and find what is wrong with each part alone."""
    layers, problems = read_files(file or default_file, must_exist=file is not None)
    problems += misplaced_secrets(layers)
    for layer, layer_problems in (read_credentials(environment), read_environment(environment)):
        layers.append(layer)
        problems += layer_problems
    return layers, problems


def _unknown_sections(merged: Mapping[str, Any], layers: Sequence[Layer]) -> list[Problem]:
    return [
        layer_that_set((name,), layers).problem(
            Mistake((name,), unknown_key("section", name, SECTIONS))
        )
        for name in merged
        if name not in SECTIONS
    ]


def _with_default_store(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add the default store if no other store is configured."""
    tables = {name: table for name, table in values.items() if isinstance(table, Mapping)}
    if not tables.keys() <= StoresSection.DEFAULT.keys():
        return values
    stores = {
        name: _with_defaults(tables.get(name, {}), default)
        for name, default in StoresSection.DEFAULT.items()
        if name in tables or name not in values
    }
    return {**values, **stores}


def _with_defaults(table: Mapping[str, Any], default: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fill in the defaults, unless the table is of another type."""
    return {**default, **table} if table.get("type", default["type"]) == default["type"] else table


def _cross_section_problems(sections: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Problems of settings that are valid alone and conflict together."""
    auth, api = sections.get("auth"), sections.get("api")
    found: list[tuple[KeyPath, str]] = []
    if auth and auth.method == "token" and not auth.token_file:
        found.append((("auth", "token_file"), 'must be set for method "token"'))
    if auth and api and auth.method == "none" and not auth.allow_anyone_on_the_network:
        found += [
            (("api", "bind"), _UNAUTHENTICATED_ADDRESS.format(address=address))
            for address in api.bind
            if not address.is_local_only
        ]
    metrics = sections.get("metrics")
    if metrics and API_ADDRESSES in metrics.bind and not metrics.token_file:
        found.append((("metrics", "token_file"), _METRICS_OPEN_TO_ALL))
    stores, exports = sections.get("stores"), sections.get("exports")
    if stores and exports:
        found += [
            (("exports", name), _EXPORT_OVERLAPS_STORE.format(name=name, store=store))
            for name, store in overlaps(exports, stores)
        ]
    return found
