"""``[quotas]``: the limits of projects without limits of their own."""

from __future__ import annotations

from typing import Literal

from imaged.config.limits import CountLimit, SizeLimit
from imaged.config.sections import Section, setting


class QuotasSection(Section):
    """Limits of projects; what would exceed one gets 413."""

    source: Literal["config", "keystone"] = setting(
        "config",
        'Where the limits of projects are set. "config": here, and by `imaged quota` for single '
        'projects. "keystone": as unified limits of Keystone, which [auth.keystone] names; '
        "here for what is not registered there.",
    )
    region: str = setting(
        "",
        "The region of this service in Keystone: its limits precede those without a region. Only "
        'with source "keystone".',
    )
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
