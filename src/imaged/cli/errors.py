"""Output of errors, as text and as JSON, in the same form for all commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

RUN_DOCTOR = "`imaged doctor` checks everything that a daemon needs, and says what to do."
RUN_CHECK_CONFIG = "`imaged check-config` reports all mistakes in it."


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line has --json, also if the rest of it is invalid."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def is_expected_error(error: Exception) -> bool:
    """Whether the error is meant for users; any other is a bug."""
    from imaged.core.errors import ImagedError

    if isinstance(error, (click.ClickException, ImagedError)):
        return True
    from imaged.config.errors import ConfigInvalid

    return isinstance(error, ConfigInvalid)


def error_json(error: Exception) -> dict[str, Any]:
    """``error``, ``remedy`` (or None), and ``image_id`` if an image waits for data."""
    facts: dict[str, Any] = {"error": _message_of(error), "remedy": _remedy_for(error)}
    image_id = getattr(error, "unfinished_image_id", None)
    return facts if image_id is None else {**facts, "image_id": image_id}


def print_error(error: Exception, *, as_json: bool) -> None:
    """Print the error: text on standard error, JSON on standard output."""
    if as_json:
        from imaged.cli.options import print_json

        print_json(error_json(error))
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        click.echo(_message_of(error), err=True)
        if remedy := _remedy_for(error):
            click.echo(remedy, err=True)


def _message_of(error: Exception) -> str:
    return error.format_message() if isinstance(error, click.ClickException) else str(error)


def _remedy_for(error: Exception) -> str | None:
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx is not None else "imaged"
        return f"See `{where} --help`."
    from imaged.config.errors import ConfigInvalid
    from imaged.core.errors import CatalogError, StoreError

    match error:
        case ConfigInvalid():
            return RUN_CHECK_CONFIG
        case CatalogError() | StoreError():
            return RUN_DOCTOR
        case _:
            return getattr(error, "remedy", "") or None
