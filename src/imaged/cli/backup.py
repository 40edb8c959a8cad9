"""``imaged backup`` and ``imaged restore-backup``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli.options import config_option, configure_command_log, json_option, verbose_option
from imaged.cli.output import print_json
from imaged.units import approximate_size, pluralize

if TYPE_CHECKING:
    from imaged.core.backup import Manifest, StoreCopy
    from imaged.daemon.restored_backup import Restored

FOLDER_TYPE = click.Path(file_okay=False, path_type=Path)
WITHOUT_BYTES = {
    "filesystem": "its bytes are not in the backup; --with-bytes copies them",
    "s3": "its bytes are in a bucket: copy that with its service, or rclone, after this backup",
}


@click.command()
@click.argument("folder", required=False, type=FOLDER_TYPE)
@click.option("--with-bytes", is_flag=True, help="Also link or copy the bytes of all images.")
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(min=1),
    help="Then remove all backups in the folder but the newest N.",
)
@config_option
@verbose_option
@json_option
def backup(
    folder: Path | None, file: Path | None, *, with_bytes: bool, keep: int | None, as_json: bool
) -> None:
    """Make a backup in a folder, while daemons work: catalog, configuration and keys.

    FOLDER: by default backup.folder. The backup is a new folder in it, named by the time; it is
    complete as soon as it has that name. Only its owner may read it, because it has secrets.

    With --with-bytes it also has the bytes of stores in folders: as hard links where it is on their
    filesystem, otherwise as copies; what an older backup has is not copied again.
    """
    from structlog.contextvars import bound_contextvars

    from imaged.cli.context import operator
    from imaged.config import load
    from imaged.daemon.backup import make_backup

    config = load(file)
    configure_command_log(config.log.level, config.log.format, is_change=True)
    folder = folder or config.backup.folder
    if folder is None:
        raise click.UsageError("Name the folder for the backup, or set backup.folder.")
    with bound_contextvars(user_id=operator()):
        made = make_backup(config, file, folder.absolute(), with_bytes=with_bytes, keep=keep)
    if as_json:
        removed = [str(path) for path in made.removed]
        print_json({"backup": str(made.folder), **_facts(made.manifest), "removed": removed})
        return
    click.echo(f"Made {made.folder}")
    for line in _contents(made.manifest):
        click.echo(f"  {line}")
    if made.removed:
        click.echo(f"Removed {pluralize(len(made.removed), 'older backup')}.")


@click.command("restore-backup")
@click.argument("backup", type=FOLDER_TYPE)
@click.option("--check", is_flag=True, help="Only check that the backup is whole.")
@click.option("--replace", is_flag=True, help="Move aside what is in the way, and differs.")
@click.option(
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Use this configuration, and leave that of the backup alone.",
)
@verbose_option
@json_option
def restore_backup(
    backup: Path, file: Path | None, *, check: bool, replace: bool, as_json: bool
) -> None:
    """Put a backup back: configuration, keys, catalog, and the bytes that it has.

    It is checked first, against the sizes and digests of its manifest. What is there already, and
    differs, is refused without --replace; a catalog that instances use is never replaced. Secrets
    that systemd passed are left in the backup's folder credentials.
    """
    from imaged.daemon import restored_backup

    configure_command_log()
    manifest = restored_backup.check_backup(backup)
    restored = None
    if not check:
        restored = restored_backup.restore_backup(backup, manifest, file, replace=replace)
    if as_json:
        moved = [] if restored is None else [str(path) for path in restored.moved]
        print_json({"backup": str(backup), **_facts(manifest), "moved": moved})
        return
    click.echo(f"{backup} is whole: made {manifest.finished_at:%Y-%m-%d %H:%M} UTC.")
    for line in _contents(manifest) if restored is None else _results(manifest, restored):
        click.echo(f"  {line}")


def _facts(manifest: Manifest) -> dict[str, object]:
    import msgspec

    facts: dict[str, object] = msgspec.to_builtins(manifest)
    return facts


def _contents(manifest: Manifest) -> Iterator[str]:
    catalog, size = manifest.catalog, sum(file.size_bytes for file in manifest.files)
    yield (
        f"catalog: {pluralize(catalog.images, 'image')}, {pluralize(catalog.blobs, 'blob')}, "
        f"revision {catalog.revision}, of {catalog.location}"
    )
    yield f"files: {len(manifest.files)}, {approximate_size(size)}; they have secrets"
    if manifest.variables:
        yield f"not in it: the values of {', '.join(manifest.variables)}"
    for store in manifest.stores:
        yield f"store {store.name}: {_bytes_of(store)}"


def _bytes_of(store: StoreCopy) -> str:
    if not store.has_bytes:
        return WITHOUT_BYTES[store.type]
    lost = f"; deleted meanwhile, or missing: {store.missing}" if store.missing else ""
    return f"{pluralize(store.blobs, 'blob')}, {approximate_size(store.size_bytes)}{lost}"


def _results(manifest: Manifest, restored: Restored) -> Iterator[str]:
    images = pluralize(manifest.catalog.images, "image")
    yield f"catalog: {images} in {restored.catalog}"
    for store in restored.stores:
        yield f"store {store.name}: {_bytes_of(store)}"
    for path in restored.moved:
        yield f"moved aside: {path}"
    for file in manifest.files:
        if file.path.startswith("credentials/"):
            yield f"to be put where LoadCredential= has it: {file.path}"
    if manifest.variables:
        yield f"to be set as before: {', '.join(manifest.variables)}"
    yield "next: `imaged check-config`, and `imaged reconcile` before a daemon starts"
