"""A server-side copy of a blob, from another key at the same endpoint.

Up to ``copy_piece_bytes`` are copied by one call, more in pieces as parts of an upload: S3 refuses
a single copy of more than 5 GiB, and a much smaller one may exceed the read timeout. The
credentials of the target store need the right to read the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imaged.stores.s3.client import S3Client, S3Response
from imaged.stores.s3.multipart_upload import CompletedPart
from imaged.stores.s3.settings import MAX_PARTS, S3Settings

PARALLEL_COPIES = 4


class S3CopySource:
    """A blob to be copied. ``found`` is the answer to HEAD."""

    def __init__(self, settings: S3Settings, key: str, found: S3Response) -> None:
        self.size_bytes: int = found["ContentLength"]
        self.piece_bytes: int = max(
            settings.tuning.copy_piece_bytes, -(-self.size_bytes // MAX_PARTS)
        )
        #: The parameters of a call that copies it only if it is unchanged.
        self.parameters: dict[str, Any] = {
            "CopySource": {"Bucket": settings.bucket, "Key": settings.root + key},
            "CopySourceIfMatch": found["ETag"],
        }

    @property
    def is_small(self) -> bool:
        """Whether one call is enough."""
        return self.size_bytes <= self.piece_bytes

    async def copy(self, client: S3Client, key: str, metadata: Mapping[str, str]) -> bool:
        """Copy all of it by one call; returns whether the answer proves it. Raises StoreError."""
        answer = await client.call(
            "copy_object",
            key,
            Metadata=metadata,
            MetadataDirective="REPLACE",
            **self.parameters,
        )
        return bool(answer.get("CopyObjectResult", {}).get("ETag"))

    async def copy_piece(
        self, client: S3Client, key: str, upload_id: str, piece: range, number: int
    ) -> CompletedPart:
        """Copy one piece as a part of an upload. Raises StoreError."""
        answer = await client.call(
            "upload_part_copy", key, UploadId=upload_id, PartNumber=number, **self.part(piece)
        )
        return {"PartNumber": number, "ETag": answer.within("CopyPartResult")["ETag"]}

    def part(self, piece: range) -> dict[str, Any]:
        """The parameters of a call that copies a piece: S3 takes no range of a small object."""
        if len(piece) == self.size_bytes:
            return self.parameters
        return {**self.parameters, "CopySourceRange": f"bytes={piece.start}-{piece.stop - 1}"}

    def pieces(self) -> list[range]:
        """The offsets of each piece, in bytes."""
        return [
            range(start, min(start + self.piece_bytes, self.size_bytes))
            for start in range(0, self.size_bytes, self.piece_bytes)
        ]
