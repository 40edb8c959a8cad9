"""All measures, in the order in which they are taken. One module each."""

from __future__ import annotations

from bench.measures.bucket import BUCKET, BUCKET_CROWD
from bench.measures.crowd import CROWD
from bench.measures.download import DOWNLOAD
from bench.measures.hashing import HASHING
from bench.measures.listing import DEEP, LISTING
from bench.measures.load import LOAD
from bench.measures.records import RECORDS
from bench.measures.scrub import SCRUB
from bench.measures.show import SHOW
from bench.measures.signed_in import SIGNED_IN
from bench.measures.small import SMALL
from bench.measures.start import START
from bench.measures.tasks import TASKS
from bench.measures.unverified import UNVERIFIED
from bench.measures.upload import CHUNKED, UPLOAD

MEASURES = (
    START,
    UPLOAD,
    CHUNKED,
    HASHING,
    CROWD,
    DOWNLOAD,
    UNVERIFIED,
    BUCKET,
    BUCKET_CROWD,
    SHOW,
    SIGNED_IN,
    RECORDS,
    SMALL,
    LOAD,
    TASKS,
    LISTING,
    DEEP,
    SCRUB,
)
