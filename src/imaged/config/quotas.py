"""``[quotas]``: the limits of projects without limits of their own."""

from __future__ import annotations

from imaged.config.limits import CountLimit, SizeLimit
from imaged.config.sections import Section, setting


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
