"""``[quotas]``: the limits of projects without limits of their own."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from imaged.config.sections import Section, setting
from imaged.units import UNLIMITED, format_size_limit, parse_count_limit, parse_size_limit

SizeLimit = Annotated[
    int | None, BeforeValidator(parse_size_limit), PlainSerializer(format_size_limit)
]
CountLimit = Annotated[
    int | None,
    BeforeValidator(parse_count_limit),
    PlainSerializer(lambda limit: UNLIMITED if limit is None else limit),
]


class QuotasSection(Section):
    """Limits of projects without limits of their own (`imaged quota`); beyond them is 413."""

    total: SizeLimit = setting(
        "unlimited",
        'The bytes that a project may store or stage, such as "500GiB". They count from before '
        "their first byte until their image can no longer be restored.",
        reloadable=True,
    )
    staged: SizeLimit = setting(
        "unlimited", "How many of them may be staged for imports.", reloadable=True
    )
    images: CountLimit = setting(
        "unlimited", "The number of images that a project may have.", reloadable=True
    )
    uploads: CountLimit = setting(
        "unlimited",
        "The number of its images with an unfinished upload, staging or import; staged data waits "
        "for its import, and so counts too.",
        reloadable=True,
    )
