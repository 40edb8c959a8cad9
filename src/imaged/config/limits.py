"""Types of limits that an operator may switch off: ``"unlimited"`` is None."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from imaged.units import UNLIMITED, format_size_limit, parse_count_limit, parse_size_limit

SizeLimit = Annotated[
    int | None, BeforeValidator(parse_size_limit), PlainSerializer(format_size_limit)
]
CountLimit = Annotated[
    int | None,
    BeforeValidator(parse_count_limit),
    PlainSerializer(lambda limit: UNLIMITED if limit is None else limit),
]
