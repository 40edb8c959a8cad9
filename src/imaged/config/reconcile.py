"""``[reconcile]``: comparing the catalog with the stores."""

from __future__ import annotations

from imaged.config.sections import Section, setting
from imaged.config.types import Duration, Fraction, NonNegativeInt


class ReconcileSection(Section):
    """Comparing catalog and stores: it finds what only double faults can leave."""

    every: Duration = setting(
        "6h", 'How often both are compared; "0": never by itself.', reloadable=True
    )
    quarantine: Duration = setting(
        "24h",
        "How long bytes without a row wait until they are deleted: time to notice that a catalog "
        "was restored from an old backup.",
        reloadable=True,
    )
    max_strays: NonNegativeInt = setting(
        100,
        "The brake: up to so many blobs of a store without a row are no surprise, as long as they "
        "are within max_share too. Where there are more, nothing is doomed there, and the log says "
        "so: an operator looks, and `imaged reconcile --apply --max-delete N` lets them go.",
        reloadable=True,
    )
    max_share: Fraction = setting(
        0.01,
        "The same as a share of the store's blobs; both must hold. All blobs of a store never go, "
        "and in a store of less than 100 none goes by itself.",
        reloadable=True,
    )
