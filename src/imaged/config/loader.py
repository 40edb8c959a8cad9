"""Build a Config from the layers, or report all problems; and say which sources were read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imaged import DEFAULT_CONFIG_FILE
from imaged.config.api import LEAST_BUDGET_OF_PROCESS
from imaged.config.layers import (
    ENVIRONMENT,
    Layer,
    existing_files,
    is_variable_of_settings,
    layer_that_set,
    merge_layers,
    read_environment,
    read_files,
    variable,
)
from imaged.config.model import SECTIONS, Config, KeyPath
from imaged.config.problems import ConfigInvalid, Mistake, Problem, describe_error, unknown_key
from imaged.config.secrets import misplaced_secrets, read_credentials
from imaged.config.stores import StoresSection, overlaps
from imaged.config.types import API_ADDRESSES, AUTOMATIC, is_fixed
from imaged.server.settings import Address

_ANONYMOUS_WITHOUT_TOKENS = (
    'must be false with method "none", with which all callers are administrators; here it is true'
)
_UNAUTHENTICATED_ADDRESS = (
    "{address} can be reached from the network, and auth.method is none: every client would be an "
    "administrator. Choose another method, bind to loopback or to a unix socket, or set "
    "auth.allow_anyone_on_the_network"
)

_PAGES_WITHOUT_AUTHENTICATION = (
    "must be empty with auth.method none: a page of such an origin would be an administrator as "
    "soon as a browser on this machine shows it. Choose another method, or remove the origins; "
    'here it is "{origins}"'
)

_BUDGET_TOO_SMALL = (
    "leaves each process less than 16 MiB of uploads.transfer_budget, which they share: raise it, "
    "or choose fewer processes"
)
_NOT_A_FOLDER = (
    'must be "none" while the store {store} is a bucket, whose data no proxy finds in a folder'
)
_METRICS_OPEN_TO_ALL = (
    'must be set if metrics.bind has "api": else every client of the API, through a proxy too, '
    'could read the metrics. Or give them an address of their own, such as "127.0.0.1:9293"'
)

_EXPORT_OVERLAPS_STORE = (
    "the destination {name} and the store {store} must not be in the same place, or one in the "
    'other: an exported file could be mistaken for an image there; here it is "{place}"'
)

_ADDRESS_TWICE = (
    'must not have an address twice, nor one of api.bind ("api" in metrics.bind stands for those); '
    'here it is "{address}"'
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


@dataclass(frozen=True, slots=True)
class Sources:
    """The files in the order in which they are read, and the variables. ``missing``: the default
    file, if it is not there and none was named.
    """

    files: Sequence[str]
    variables: Sequence[str]
    missing: str
    layers: Sequence[Layer]

    def __str__(self) -> str:
        told = [f"There is no {self.missing}."] if self.missing else []
        told += [f"Read: {', '.join(self.files)}."] if self.files else []
        told += [f"Of the environment: {', '.join(self.variables)}."] if self.variables else []
        if self.missing and not self.files and not self.variables:
            told.append("All settings have their defaults.")
        return " ".join(told) or "No file was read."

    def locate(self, problem: Problem) -> Problem:
        """The problem with the place of its setting, if it is not a default."""
        path = tuple((problem.key or "").split("."))
        layer = layer_that_set(path, self.layers) if self.layers else None
        if layer is None or problem.line is not None or not layer.holds(path):
            return problem
        if layer.origin == ENVIRONMENT:
            return replace(problem, origin=layer.origin, key=variable(path))
        return replace(problem, origin=layer.origin, line=layer.line(path))


def find_sources(
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    default_file: Path = DEFAULT_CONFIG_FILE,
) -> Sources:
    """Find what ``load`` reads with the same arguments."""
    main = file or default_file
    files = [str(path) for path in existing_files(main)]
    layers, _ = read_layers(file, environment, default_file)
    return Sources(
        files,
        sorted(filter(is_variable_of_settings, environment)),
        str(main) if file is None and str(main) not in files else "",
        layers,
    )


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


def _are_limits_in_keystone(sections: Mapping[str, Any]) -> bool:
    quotas = sections.get("quotas")
    return quotas is not None and quotas.source == "keystone"


def _are_shares_too_small(sections: Mapping[str, Any]) -> bool:
    """Whether processes that answer would have too little memory for transfers."""
    api, uploads = sections.get("api"), sections.get("uploads")
    if not api or not uploads or api.processes in {AUTOMATIC, 1}:
        return False
    share: int = uploads.transfer_budget // api.processes
    return share < LEAST_BUDGET_OF_PROCESS


def _cross_section_problems(sections: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Problems of settings that are valid alone and conflict together."""
    auth, api = sections.get("auth"), sections.get("api")
    found: list[tuple[KeyPath, str]] = []
    if auth and auth.method == "token" and not auth.token_file:
        found.append((("auth", "token_file"), 'must be set for method "token"'))
    if auth and auth.method == "none" and auth.anonymous_read:
        found.append((("auth", "anonymous_read"), _ANONYMOUS_WITHOUT_TOKENS))
    if auth and (auth.method == "keystone" or _are_limits_in_keystone(sections)):
        found += [(("auth", "keystone", key), what) for key, what in auth.keystone.mistakes()]
    if auth and api and auth.method == "none" and not auth.allow_anyone_on_the_network:
        found += [
            (("api", "bind"), _UNAUTHENTICATED_ADDRESS.format(address=address))
            for address in api.bind
            if not address.is_local_only
        ]
    if auth and api and auth.method == "none" and api.cors.allowed_origins:
        what = _PAGES_WITHOUT_AUTHENTICATION.format(origins=", ".join(api.cors.allowed_origins))
        found.append((("api", "cors", "allowed_origins"), what))
    metrics = sections.get("metrics")
    if api and metrics:
        found += _repeated_addresses({"api": api.bind, "metrics": metrics.bind})
    if metrics and API_ADDRESSES in metrics.bind and not metrics.token_file:
        found.append((("metrics", "token_file"), _METRICS_OPEN_TO_ALL))
    if _are_shares_too_small(sections):
        found.append((("api", "processes"), _BUDGET_TOO_SMALL))
    stores, exports = sections.get("stores"), sections.get("exports")
    found += _undelegated_stores(sections.get("downloads"), stores)
    if stores and exports:
        found += [
            (
                ("exports", name),
                _EXPORT_OVERLAPS_STORE.format(
                    name=name, store=store, place=exports.by_name[name].place
                ),
            )
            for name, store in overlaps(exports, stores)
        ]
    return found


def _undelegated_stores(downloads: Any, stores: Any) -> Iterator[tuple[KeyPath, str]]:
    """Each store that a proxy cannot read."""
    if downloads and stores and downloads.delegate != "none":
        for name, store in stores.by_name.items():
            if store.type != "filesystem":
                yield ("downloads", "delegate"), _NOT_A_FOLDER.format(store=name)


def _repeated_addresses(
    binds: Mapping[str, Sequence[Address | str]],
) -> Iterator[tuple[KeyPath, str]]:
    """Each address that a second listener could not have. ``binds``: by section."""
    seen: set[Address | str] = set()
    for section, addresses in binds.items():
        for address in addresses:
            if address in seen and is_fixed(address):
                yield (section, "bind"), _ADDRESS_TWICE.format(address=address)
            seen.add(address)
