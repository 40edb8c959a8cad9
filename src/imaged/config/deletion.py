"""``[scrubber]`` and ``[reconcile]``: when bytes go, and which of them."""

from __future__ import annotations

from datetime import timedelta

from pydantic import model_validator

from imaged.config.sections import Section, setting
from imaged.config.values import Concurrency, Count, Duration, Share

SMALLEST_STEP = timedelta(minutes=1)


class ScrubberSection(Section):
    """When deleted images really go."""

    delay: Duration = setting(
        "24h",
        "How long a deleted image can be restored. Counted from its deletion with the delay "
        'configured now: a lower one frees space at the next round. "0" frees at once.',
        reloadable=True,
    )
    every: Duration = setting(
        "30s",
        'How often the scrubber looks for what is due; "0": never by itself.',
        reloadable=True,
    )
    concurrency: Concurrency = setting(
        4,
        "How many blobs are deleted at the same time; more helps slow stores only.",
        reloadable=True,
    )
    keep_records: Duration = setting(
        "30d",
        "How long the record of a deleted image stays; after that only its id does, so that it is "
        "never used again.",
        reloadable=True,
    )
    max_clock_step: Duration = setting(
        "1h",
        "By how much the catalog's clock may step before nothing is expired or deleted any more: a "
        "step ahead would end every delay too early. What is due goes when a step ahead is "
        "undone, after as much time as it skipped and the longest delay, or when "
        "`imaged scrub --confirm-clock` says that the clock is right.",
        reloadable=True,
    )

    @model_validator(mode="after")
    def _bear_small_steps(self) -> ScrubberSection:
        if self.max_clock_step < SMALLEST_STEP:
            raise ValueError("max_clock_step must be 1m at least: smaller steps are ordinary")
        return self


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
    max_strays: Count = setting(
        100,
        "The brake: up to so many blobs of a store without a row are no surprise, as long as they "
        "are within max_share too. Where there are more, nothing is doomed there, and the log says "
        "so: an operator looks, and `imaged reconcile --apply --max-delete N` lets them go.",
        reloadable=True,
    )
    max_share: Share = setting(
        0.01,
        "The same as a share of the store's blobs; both must hold. All blobs of a store never go, "
        "and in a store of less than 100 none goes by itself.",
        reloadable=True,
    )
