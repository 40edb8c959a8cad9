"""How much is measured: by default, and as little as shows that every measure works."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Sizes:
    """The defaults take two endpoints less than ten minutes."""

    rounds: int = 3  # how often each measure is taken, of each contender in turn
    image_bytes: int = 1 * GIB
    crowd: int = 8  # uploads at once, which share image_bytes
    bucket_crowd: int = 64  # uploads into a bucket at once, which share image_bytes
    load: int = 4  # uploads that run flat out while others ask
    load_bytes: int = 256 * MIB  # each of them
    imports: int = 8  # that run flat out while others ask, of load_bytes each
    at_once: int = 16  # connections of the measures that have many
    seconds: float = 2.0  # how long what is counted per second goes on
    records: int = 10_000  # images that there are when lists are asked for
    page: int = 25
    deep_page: int = 300
    small_bytes: int = 4096
    scrubbed: int = 2_000  # small images that are deleted, and scrubbed at once
    quiet_seconds: float = 1.0  # from the first answer until memory is called idle
    look_bytes: int = 48 * MIB  # hashed and written for each look at the machine


TOY = Sizes(
    rounds=1,
    image_bytes=8 * MIB,
    crowd=4,
    bucket_crowd=4,
    load=2,
    load_bytes=8 * MIB,
    imports=2,
    at_once=4,
    seconds=0.2,
    records=60,
    page=5,
    deep_page=10,
    scrubbed=20,
    quiet_seconds=0.1,
    look_bytes=4 * MIB,
)
