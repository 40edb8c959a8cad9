"""The table of events that wait for the receiver of notifications.

``tables.py`` shows how the tables belong together.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, Table, Uuid, text

from imaged.catalogs.dialects import TEXT, Instant, metadata, partial_index

#: Rows of ``core/outbox.py``. The first event of a queue has the due time of the whole queue: it is
#: in the future while an instance delivers them, and during the pause after a failure.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("queue", TEXT, nullable=False),
    Column("number", BigInteger, nullable=False),  # of those that wait in its queue
    Column("type", TEXT, nullable=False),
    Column("priority", TEXT, nullable=False),
    Column("subject", TEXT, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("last_error", TEXT),
    # the end of a queue, its first event, and those after it
    Index("outbox_queue", "queue", "number", unique=True),
    # take_events
    Index("outbox_due", "due_at", "id"),
    # drop_events, summarize
    Index("outbox_created", "created_at", "id"),
    # summarize
    partial_index("outbox_failing", "failures", where="failures > 0"),
)
