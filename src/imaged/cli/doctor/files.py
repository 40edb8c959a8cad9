"""Checks of files: the permissions of settings and secrets, and the filesystem of a path.

What root may do says nothing about the daemon's user, so root becomes that user for the checks.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import imaged
from imaged import DEFAULT_CONFIG_FILE
from imaged.cli.doctor import Finding, ok, problem, warning
from imaged.config import Config
from imaged.config.policy_file import PolicyFileInvalid, read_policy
from imaged.config.schema_file import SchemaFileInvalid, read_schema
from imaged.config.stores import FilesystemSection, S3Section
from imaged.daemon.backup_files import backup_warning

ROOT_UID = 0
MOUNTINFO = Path("/proc/self/mountinfo")
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.sshfs", "9p", "afs"}
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def check_files(file: Path | None, config: Config) -> Iterator[Finding]:
    """Check the settings files, and the files of secrets that they name."""
    main = file or DEFAULT_CONFIG_FILE
    for path in (main, *sorted(main.parent.glob("conf.d/*.toml"))):
        if path.exists():
            yield _settings(path)
    for setting, path in _secret_files(config):
        yield _secret(setting, path)
    if config.auth.policy_file:
        yield _policy(Path(config.auth.policy_file), config)
    if config.images.schema_file:
        yield _schema(Path(config.images.schema_file), config)


def _policy(path: Path, config: Config) -> Finding:
    """Check that the rules are valid, and that only the owner of their file can change them."""
    try:
        rules = len(read_policy(config).replaced)
    except PolicyFileInvalid as error:
        return problem("policy", str(error), "Correct the rule; the daemon does not start with it.")
    if writers := _other_writers(path):
        return problem("policy", f"{path} can be changed by {writers}.", f"chmod go-w {path}")
    return ok("policy", f"{path} has {rules} valid rules, and its owner alone can change it.")


def _schema(path: Path, config: Config) -> Finding:
    """Check that the description of properties is valid, and that only its owner can change it."""
    try:
        properties = len(read_schema(config).properties)
    except SchemaFileInvalid as error:
        return problem("schema", str(error), "Correct it; the daemon does not start with it.")
    if writers := _other_writers(path):
        return problem("schema", f"{path} can be changed by {writers}.", f"chmod go-w {path}")
    return ok("schema", f"{path} describes {properties} properties; its owner alone can change it.")


def check_backups(config: Config) -> Iterator[Finding]:
    """Check that there is a recent backup, if their folder is configured."""
    if (folder := config.backup.folder) is None:
        return
    if why := backup_warning(folder):
        remedy = "imaged backup makes one, and imaged-backup.timer one each night."
        yield warning("backup", f"{why}.", remedy)
    else:
        yield ok("backup", f"There is a recent one in {folder}.")


def _secret_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Every file with a secret, with the setting that names it."""
    auth = config.auth
    files = {
        "catalog.password_file": config.catalog.password_file,
        "auth.token_file": auth.token_file if auth.method == "token" else "",
        "metrics.token_file": config.metrics.token_file,
    }
    if auth.method == "keystone":
        for key in ("password_file", "application_credential_secret_file"):
            files[f"auth.keystone.{key}"] = getattr(auth.keystone, key)
    for name, store in config.stores.by_name.items():
        if isinstance(store, S3Section):
            for key in ("access_key_file", "secret_key_file"):
                files[f"stores.{name}.{key}"] = getattr(store, key)
    return ((setting, Path(file)) for setting, file in files.items() if file)


def _settings(path: Path) -> Finding:
    """Check that only the owner can change a file; all users may read it."""
    if writers := _other_writers(path):
        return problem(f"file {path}", f"can be changed by {writers}.", f"chmod go-w {path}")
    return ok(f"file {path}", "can be changed by its owner alone.")


def _secret(setting: str, path: Path) -> Finding:
    subject = f"file {path}"
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as error:
        return problem(
            subject,
            f"cannot be read: {error.strerror}.",
            f"It is {setting}: give it to the user that imaged runs as.",
        )
    if mode & stat.S_IROTH:
        return problem(subject, "can be read by all users.", f"chmod o-rwx {path}")
    if writers := _other_writers(path):
        return problem(subject, f"can be changed by {writers}.", f"chmod go-w {path}")
    return ok(subject, "can be read, and not by all users.")


def _other_writers(path: Path) -> str:
    """The users besides root and this one that may replace the file; "" for none."""
    for place in (path, path.parent):
        facts = place.stat()
        is_sticky = place is not path and facts.st_mode & stat.S_ISVTX
        if facts.st_mode & stat.S_IWOTH and not is_sticky:
            return "all users"
        if facts.st_mode & stat.S_IWGRP and facts.st_gid != ROOT_UID and not is_sticky:
            return f"the group {facts.st_gid}"
        if facts.st_uid not in {ROOT_UID, os.geteuid()} and os.geteuid() != ROOT_UID:
            return f"the user {facts.st_uid}"
    return ""


def filesystem_of(path: Path, mounts: str | None = None) -> str:
    """The type, such as ext4; "" if it is unknown."""
    try:
        text = MOUNTINFO.read_text("utf-8", "surrogateescape") if mounts is None else mounts
    except OSError:
        return ""
    place = path.resolve()
    best, kind = -1, ""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        if place.is_relative_to(point) and len(point.parts) >= best:  # later mounts are on top
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def become_daemon_user(config: Config) -> str:
    """Become the user that owns the stores, if this is root; the user's name, or "".

    It is for good: so nothing is made that the daemon cannot use, and what it may not do is found.
    Root stays root where it owns the stores itself, or where that user cannot read imaged.
    """
    if os.geteuid() != ROOT_UID:
        return ""
    owners = {owner for store in _folders(config) if (owner := _owner(store.path)) != ROOT_UID}
    if len(owners) != 1:
        return ""
    (owner,) = owners
    try:
        user = pwd.getpwuid(owner)
    except KeyError:
        return ""
    groups = os.getgroups()
    os.initgroups(user.pw_name, user.pw_gid)
    os.setegid(user.pw_gid)
    os.seteuid(owner)
    can_read = os.access(imaged.__file__, os.R_OK, effective_ids=True)
    os.seteuid(ROOT_UID)
    if not can_read:
        os.setegid(ROOT_UID)
        os.setgroups(groups)
        return ""
    os.setgid(user.pw_gid)
    os.setuid(owner)
    return user.pw_name


def _folders(config: Config) -> list[FilesystemSection]:
    return [one for one in config.stores.by_name.values() if isinstance(one, FilesystemSection)]


def _owner(path: Path) -> int:
    """The owner; root where the folder is missing, which its own check says."""
    try:
        return path.stat().st_uid
    except OSError:
        return ROOT_UID
