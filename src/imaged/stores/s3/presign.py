"""Links that let somebody without rights of his own read one blob, for a while.

Whoever has such a link has the right that it carries. It is given to one client, and told to nobody
else: not to a log, and in no error.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

from imaged.core.errors import StoreError
from imaged.stores.s3.errors import LIBRARY_ERRORS, S3Errors
from imaged.stores.s3.session import S3Session
from imaged.stores.s3.settings import S3Settings

MAX_VALIDITY = timedelta(days=7)  # what signatures of version 4 allow


class S3Presigner:
    """Makes links to blobs of one store. Raises StoreError."""

    def __init__(self, store: str, settings: S3Settings, session: S3Session) -> None:
        self._store = store
        self._settings = settings
        self._session = session

    async def presign(self, key: str, valid_for: timedelta, file_name: str | None) -> str:
        """Sign one. Browsers are told to save what they get, and not to look into it."""
        if not timedelta(0) < valid_for <= MAX_VALIDITY:
            raise StoreError(self._store, "gives links for 7 days at most, and for more than none")
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
    """RFC 6266: the name in UTF-8, in signs that mean nothing in a header."""
    if file_name is None:
        return "attachment"
    return f"attachment; filename*=UTF-8''{quote(file_name, safe='')}"
