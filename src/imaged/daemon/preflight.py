"""Checks that everything a configuration names can be used; creates nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from imaged.api.authenticator import BearerToken, TokenFile, TokenFileInvalid
from imaged.catalogs.connect import inspect_catalog, is_missing
from imaged.config import Config, Problem
from imaged.config.policy_file import PolicyFileInvalid, read_policy
from imaged.config.schema_file import SchemaFileInvalid, read_schema
from imaged.conversion.qemu_img import unsupported_reason
from imaged.core.errors import (
    CatalogError,
    CatalogMissing,
    ExportError,
    KeystoneError,
    KeystoneSettingsUnusable,
    StoreError,
)
from imaged.daemon.drivers import WebhookSecretsInvalid, build_receiver, require_empty_stores
from imaged.daemon.keystone import KeystoneConnection, open_keystone
from imaged.daemon.places import (
    build_store,
    examine_destination,
    known_places,
    log_store_warning,
    open_destination,
    self_test_store,
)
from imaged.daemon.settings import CertificatesRefused, password_file
from imaged.daemon.task_types import (
    ImportCheckRefused,
    build_fetcher,
    load_import_checks,
)
from imaged.services.marked_places import PlaceRegistry


async def find_problems(
    config: Config, on_warning: Callable[[StoreError], None] = log_store_warning
) -> list[Problem]:
    """Return the problems that keep a daemon from starting. ``on_warning``: see
    ``self_test_store``.
    """
    problems: list[Problem] = []
    try:
        await inspect_catalog(config.catalog.url, password_file(config))
        async with known_places(config) as places:
            problems += await _find_in_places(config, places, on_warning)
    except CatalogError as error:
        problems += await _find_in_places(config, None, on_warning)
        problems.append(Problem("catalog", "catalog.url", str(error)))
    else:
        problems += await _find_in_new_catalog(config)
    problems += find_file_problems(config)
    problems += await _find_in_keystone(config)
    try:
        load_import_checks()
    except ImportCheckRefused as error:
        problems.append(Problem("package", None, str(error)))
    return problems


def find_file_problems(config: Config) -> Iterator[Problem]:
    """Yield the problems of files that settings name and only an operator can correct: of tokens
    that these roles read, of rules, of properties, of secrets, and of certificates.
    """
    files: list[tuple[str, str, Callable[[Path], object]]] = []
    if config.auth.method == "token" and "api" in config.daemon.roles:
        files.append(("auth.token_file", config.auth.token_file, TokenFile))
    if config.metrics.token_file:
        files.append(("metrics.token_file", config.metrics.token_file, BearerToken))
    for setting, file, read in files:
        try:
            read(Path(file))
        except TokenFileInvalid as error:
            yield Problem("tokens", setting, str(error))
    try:
        read_policy(config)
    except PolicyFileInvalid as error:
        yield Problem("policy", "auth.policy_file", str(error))
    try:
        read_schema(config)
    except SchemaFileInvalid as error:
        yield Problem("schema", "images.schema_file", str(error))
    yield from _find_in_files_of_services(config)


def _find_in_files_of_services(config: Config) -> Iterator[Problem]:
    """Yield the problems of secrets and certificates for other services."""
    if _asks_keystone(config):
        try:
            KeystoneConnection(config)
        except KeystoneSettingsUnusable as error:
            yield Problem("keystone", "auth.keystone", str(error))
    try:
        build_fetcher(config)
    except CertificatesRefused as error:
        yield Problem("certificates", "fetch.ca_file", str(error))
    if "scrubber" in config.daemon.roles:
        yield from _find_in_receiver(config)


def _find_in_receiver(config: Config) -> Iterator[Problem]:
    try:
        build_receiver(config)
    except WebhookSecretsInvalid as error:
        yield Problem("secrets", "notifications.secret_file", str(error))
    except CertificatesRefused as error:
        yield Problem("certificates", "notifications.ca_file", str(error))


def _asks_keystone(config: Config) -> bool:
    return config.auth.method == "keystone" and "api" in config.daemon.roles


async def _find_in_keystone(config: Config) -> list[Problem]:
    if not _asks_keystone(config):
        return []
    try:
        async with open_keystone(config) as keystone:
            await keystone.session.token()
    except KeystoneSettingsUnusable:
        return []  # already reported
    except KeystoneError as error:
        return [Problem("keystone", "auth.keystone", str(error))]
    return []


async def _find_in_places(
    config: Config, places: PlaceRegistry | None, on_warning: Callable[[StoreError], None]
) -> list[Problem]:
    """``places``: None if the catalog cannot tell which places are its own."""
    problems: list[Problem] = []
    for name, section in config.stores.by_name.items():
        try:
            async with build_store(name, section) as store:
                if places is not None:
                    await places.examine(store.place, store)
                await self_test_store(store, on_warning)
        except StoreError as error:
            problems.append(Problem("store", f"stores.{name}", str(error)))
    for name, folder in config.exports.by_name.items():
        try:
            async with open_destination(name, folder) as destination:
                if places is not None:
                    await examine_destination(places, destination)
                await destination.check()
        except ExportError as error:
            problems.append(Problem("export", f"exports.{name}", str(error)))
    return problems


async def _find_in_new_catalog(config: Config) -> list[Problem]:
    if not is_missing(config.catalog.url):
        return []
    try:
        await require_empty_stores(config)
    except CatalogMissing as error:
        return [Problem("catalog", "catalog.url", str(error))]
    except StoreError:
        return []  # already reported
    return []


def find_hints(config: Config) -> list[str]:
    """Return hints about missing parts that only some tasks need, as sentences."""
    if "tasks" not in config.daemon.roles:
        return []
    hints = []
    if why := unsupported_reason():
        hints.append(f"Tasks that convert will be refused: {why}.")
    scratch = config.conversion.scratch
    if not (scratch.is_dir() and os.access(scratch, os.R_OK | os.W_OK | os.X_OK)):
        hints.append(
            f"Tasks that convert will fail: conversion.scratch, {scratch}, is not a folder that "
            "this user may write to."
        )
    return hints
