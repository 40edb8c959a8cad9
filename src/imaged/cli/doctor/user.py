"""The user that checks: what root may do says nothing about the daemon's user."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import imaged
from imaged.cli.doctor.files import ROOT_UID
from imaged.config import Config
from imaged.config.stores import FilesystemSection


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
