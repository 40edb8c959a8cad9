"""What went wrong, for people and for programs: the same shape for every command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

SEE_DOCTOR = "`imaged doctor` looks at all that a daemon needs, and says what to do."
SEE_CHECK = "`imaged check-config` tells everything that is wrong with it."


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for JSON, also where the rest of it cannot be understood."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def is_for_people(error: Exception) -> bool:
    """Whether it was raised on purpose, with a sentence; anything else is a mistake of ours."""
    from imaged.core.errors import ImagedError

    if isinstance(error, (click.ClickException, ImagedError)):
        return True
    from imaged.config.problems import ConfigInvalid

    return isinstance(error, ConfigInvalid)


def facts_of(error: Exception) -> dict[str, Any]:
    """``error`` and ``remedy``, which is None where the sentence says all; perhaps ``image_id``."""
    facts: dict[str, Any] = {"error": _sentence_of(error), "remedy": _remedy_for(error)}
    image_id = getattr(error, "waiting_image_id", None)
    return facts if image_id is None else {**facts, "image_id": image_id}


def show(error: Exception, *, as_json: bool) -> None:
    """Tell people on standard error, and programs where they read the results too."""
    if as_json:
        from imaged.cli.options import print_json

        print_json(facts_of(error))
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        click.echo(_sentence_of(error), err=True)
        if remedy := _remedy_for(error):
            click.echo(remedy, err=True)


def _sentence_of(error: Exception) -> str:
    return error.format_message() if isinstance(error, click.ClickException) else str(error)


def _remedy_for(error: Exception) -> str | None:
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx is not None else "imaged"
        return f"See `{where} --help`."
    from imaged.config.problems import ConfigInvalid
    from imaged.core.errors import CatalogError, StoreError

    match error:
        case ConfigInvalid():
            return SEE_CHECK
        case CatalogError() | StoreError():
            return SEE_DOCTOR
        case _:
            return getattr(error, "remedy", "") or None
