"""Presigned URLs: each grants the right to read one blob for a while.

A URL is given to one client and appears in no log and no error.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

from imaged.core.errors import StoreError
from imaged.stores.s3.errors import LIBRARY_ERRORS, S3Errors
from imaged.stores.s3.session import S3Session
from imaged.stores.s3.settings import S3Settings

MAX_VALIDITY = timedelta(days=7)  # the maximum for version 4 signatures


class S3Presigner:
    """Makes URLs for blobs of one store. Raises StoreError."""

    def __init__(self, store: str, settings: S3Settings, session: S3Session) -> None:
        self._store = store
        self._settings = settings
        self._session = session

    async def presign(self, key: str, valid_for: timedelta, file_name: str | None) -> str:
        """Sign a URL. Browsers are told to save the blob as a file, and not to render it."""
        if not timedelta(0) < valid_for <= MAX_VALIDITY:
            raise StoreError(self._store, "signs URLs for more than 0 and at most 7 days")
        parameters = {
            "Bucket": self._settings.bucket,
            "Key": self._settings.root + key,
            "ResponseContentType": "application/octet-stream",
            "ResponseContentDisposition": _attachment(file_name),
        }
        try:
            client: Any = await self._session.client()
            link: str = await client.generate_presigned_url(
                "get_object", Params=parameters, ExpiresIn=int(valid_for.total_seconds())
            )
        except LIBRARY_ERRORS as error:
            errors = S3Errors(self._store, self._settings)
            raise errors.translate("get_object", key, error) from error
        return link


def _attachment(file_name: str | None) -> str:
    """The header of RFC 6266, with the name in percent-encoded UTF-8."""
    if file_name is None:
        return "attachment"
    return f"attachment; filename*=UTF-8''{quote(file_name, safe='')}"
