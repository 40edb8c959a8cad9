"""The log: events with facts, processed in steps and written as lines.

    log.warning("store.full", store=…)      anywhere: an event and its facts
      + request_id, image_id, claim_id …    bound once, where the work comes in
      → rate_limit.py   repeated warnings are counted instead of written
      → sanitize.py     secrets are replaced, long texts cut, control characters escaped
      → log.py          console.py, JSON, or fields for journald.py

``docs/reference/events.md`` lists all events; nothing else is written.
"""

from __future__ import annotations

from imaged.telemetry.log import configure_log

__all__ = ["configure_log"]
