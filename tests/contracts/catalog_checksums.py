"""What every catalog keeps about the blocks of blobs."""

from __future__ import annotations

from dataclasses import replace

from contracts import catalog_samples as samples
from imaged.core.deletion import delete
from imaged.core.integrity import PAGE_BYTES
from imaged.core.uploading import begin_staging, share_data, stage_data, store_data
from imaged.ports.catalog import Catalog

CHECKSUMS = bytes(range(256)) * (PAGE_BYTES // 256) + b"last"  # of this many blocks, in two pages


class ChecksumsContract:
    """They are stored with the change that completes the bytes, and removed with their row."""

    async def test_they_are_stored_with_what_completes_the_bytes(self, catalog: Catalog) -> None:
        """In pages; the image itself has none when it is returned or read."""
        claim = samples.new_claim()
        await samples.add_saving(catalog, "i", claim)
        assert await catalog.get_block_checksums("i/1", 0) is None

        written = replace(samples.content(), block_checksums=CHECKSUMS)
        image = await samples.act(catalog, "i", claim, store_data(written))

        pages = [await catalog.get_block_checksums("i/1", page) for page in range(3)]
        assert pages == [CHECKSUMS[:PAGE_BYTES], b"last", None]
        for seen in (image, await catalog.get_image("i")):
            assert seen.content == written
            assert seen.content.block_checksums == b""

    async def test_staged_bytes_have_them_too(self, catalog: Catalog) -> None:
        """And their digests stay with the image."""
        claim = samples.new_claim()
        await catalog.add_image(samples.queued("i"))
        await samples.act(catalog, "i", claim, begin_staging(samples.place("i/staged")))
        staged = replace(samples.content(), block_checksums=b"abcd")

        image = await samples.act(catalog, "i", claim, stage_data(staged))

        assert await catalog.get_block_checksums("i/staged", 0) == b"abcd"
        assert image.staged_content == replace(
            samples.content(), virtual_size_bytes=None, notice=None
        )
        assert await catalog.get_image("i") == image

    async def test_they_can_be_recorded_later(self, catalog: Catalog) -> None:
        """For bytes of earlier versions; existing ones are replaced, page by page."""
        await samples.add_active(catalog, "i")
        assert await catalog.get_block_checksums("i/1", 0) is None

        for checksums in (CHECKSUMS, b"abcd", b""):
            await catalog.set_block_checksums("i/1", checksums)
            pages = [await catalog.get_block_checksums("i/1", page) for page in range(3)]
            assert b"".join(page or b"" for page in pages) == checksums

    async def test_only_what_is_whole_and_needed_has_them(self, catalog: Catalog) -> None:
        """Bytes that are being written, doomed or unknown get none, without an error."""
        await samples.add_saving(catalog, "i", samples.new_claim())
        await samples.add_active(catalog, "j")
        await catalog.modify_image("j", delete(delayed=False))

        for key in ("i/1", "j/1", "k/1"):
            await catalog.set_block_checksums(key, b"abcd")
            assert await catalog.get_block_checksums(key, 0) is None

    async def test_they_go_with_the_row(self, catalog: Catalog) -> None:
        """Not before: a clone of the same bytes needs them as well."""
        source = await samples.add_active(catalog, "i")
        await catalog.set_block_checksums("i/1", CHECKSUMS)
        await catalog.add_image(samples.queued("j"))
        await catalog.modify_image("j", share_data(source))
        await catalog.modify_image("i", delete(delayed=False))
        assert await catalog.get_block_checksums("i/1", 1) == b"last"

        await catalog.modify_image("j", delete(delayed=False))
        await catalog.remove_blob("i/1")

        assert await catalog.get_block_checksums("i/1", 0) is None
        assert await catalog.get_block_checksums("i/1", 1) is None
