"""``[reconcile]``: the comparison of the catalog with the stores."""

from __future__ import annotations

from imaged.config.sections import Section, setting
from imaged.config.types import Duration, Fraction, NonNegativeInt


class ReconcileSection(Section):
    """Comparison of catalog and stores; it finds what only double faults leave."""

    every: Duration = setting(
        "6h", 'How often both are compared; "0": never by itself.', reloadable=True
    )
    quarantine: Duration = setting(
        "24h",
        "How long bytes without a row are kept: time to notice that a catalog was restored from "
        "an old backup.",
        reloadable=True,
    )
    max_strays: NonNegativeInt = setting(
        100,
        "The number of blobs without a row that may be deleted from a store, if they are within "
        "max_share too. If there are more, none is doomed there, and the log says so: an operator "
        "must check, and may delete them by `imaged reconcile --apply --max-delete N`.",
        reloadable=True,
    )
    max_share: Fraction = setting(
        0.01,
        "The same as a share of the store's blobs; both must hold. All blobs of a store are never "
        "deleted, and in a store of less than 100 none is deleted by itself.",
        reloadable=True,
    )
