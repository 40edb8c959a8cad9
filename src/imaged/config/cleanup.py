"""``[scrubber]`` and ``[reconcile]``: when bytes and records are deleted."""

from __future__ import annotations

from datetime import timedelta

from pydantic import model_validator

from imaged.config.sections import Section, setting
from imaged.config.types import Concurrency, Duration, Fraction, NonNegativeInt, WrongSetting

MIN_CLOCK_STEP = timedelta(minutes=1)


class ScrubberSection(Section):
    """When the bytes of deleted images are removed."""

    delay: Duration = setting(
        "24h",
        "How long a deleted image can be restored. Counted from its deletion with the delay "
        'configured now: a lower one frees space at the next round. "0" frees at once.',
        reloadable=True,
    )
    every: Duration = setting(
        "30s",
        'How often the scrubber runs; "0": never by itself.',
        reloadable=True,
    )
    concurrency: Concurrency = setting(
        4,
        "How many blobs are deleted at the same time; more helps slow stores only.",
        reloadable=True,
    )
    keep_records: Duration = setting(
        "30d",
        "How long the record of a deleted image is kept; after that only its id is, so that it is "
        "never used again.",
        reloadable=True,
    )
    max_clock_step: Duration = setting(
        "1h",
        "A step of the catalog's clock by more than this stops all expiry and deletion: a step "
        "ahead would end every delay too early. Deletion continues when the step is undone, after "
        "as much time as the clock skipped and the longest delay, or after "
        "`imaged scrub --confirm-clock`.",
        reloadable=True,
    )

    @model_validator(mode="after")
    def _require_min_clock_step(self) -> ScrubberSection:
        if self.max_clock_step < MIN_CLOCK_STEP:
            raise WrongSetting("max_clock_step", "must be 1m at least: smaller steps are ordinary")
        return self


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
