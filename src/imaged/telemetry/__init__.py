"""The log: what happens becomes events, events become lines, and lines go where they are read.

    log.warning("store.full", store=…)      anywhere: an event and its facts
      + request_id, image_id, claim_id …    bound once, where the work comes in
      → rate_limit.py   what is told again and again is counted instead
      → redact.py       nothing secret gets out
      → sanitize.py     no text is too long, or commands a terminal
      → log_format.py   console, JSON, or fields for journald.py

Every event is in ``docs/reference/events.md``, and nothing else is written.
"""

from __future__ import annotations

from imaged.telemetry.log import configure_log

__all__ = ["configure_log"]
