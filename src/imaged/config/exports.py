"""``[exports.NAME]``: export destinations, each outside every store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from imaged.config.sections import Section
from imaged.config.stores import FilesystemBaseSection, S3BaseSection, StoresSection
from imaged.config.types import WrongSetting, is_store_name

ExportSection = Annotated[FilesystemBaseSection | S3BaseSection, Field(discriminator="type")]

#: The kinds of destinations, by ``type``.
EXPORT_TYPES: Mapping[str, type[FilesystemBaseSection | S3BaseSection]] = {
    "filesystem": FilesystemBaseSection,
    "s3": S3BaseSection,
}


class ExportsSection(Section):
    """Export destinations: one table [exports.NAME] for each."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ExportSection] = Field(init=False)

    @property
    def by_name(self) -> dict[str, FilesystemBaseSection | S3BaseSection]:
        """The destinations."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _require_valid_names(self) -> ExportsSection:
        if wrong := [name for name in self.by_name if not is_store_name(name)]:
            raise WrongSetting(
                wrong[0], "is not a valid name for a destination: use a-z, 0-9, - and _"
            )
        return self


def overlaps(exports: ExportsSection, stores: StoresSection) -> Iterator[tuple[str, str]]:
    """Each destination that equals, lies in or contains a store, with the store."""
    for name, here in exports.by_name.items():
        for store, there in stores.by_name.items():
            match here, there:
                case (FilesystemBaseSection(), FilesystemBaseSection()) if here.is_same_place(
                    there
                ):
                    yield name, store
                case (S3BaseSection(), S3BaseSection()) if here.overlaps(there):
                    yield name, store
