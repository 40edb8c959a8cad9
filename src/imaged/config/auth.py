"""``[auth]``: how callers are authenticated."""

from __future__ import annotations

from typing import Literal

from imaged.config.sections import Section, setting


class AuthSection(Section):
    """Authentication of callers."""

    method: Literal["none", "token"] = setting(
        "none",
        '"none": every client that can connect is an administrator. Requests of web pages in a '
        "browser are refused, and so is a Host other than localhost and the host of "
        'api.public_url. "token": callers send a token that token_file knows.',
    )
    token_file: str = setting(
        "",
        'The file of hashed tokens for method "token"; `imaged token` makes its entries.',
        reloadable=True,
    )
    policy_file: str = setting(
        "",
        "The file with rules in place of the defaults: which roles may make which calls, in the "
        "language and with the names of Glance's policy.yaml. It need not be secret.",
        reloadable=True,
    )
    anonymous_read: bool = setting(
        False,  # noqa: FBT003 - the value that the setting has
        "Callers without a token may list, show and download public images, and nothing else. Not "
        'with method "none".',
        reloadable=True,
    )
    allow_anyone_on_the_network: bool = setting(
        False,  # noqa: FBT003 - the value that the setting has
        'With method "none", allow addresses that other machines can connect to. '
        "Every client that reaches the port can then read, change and delete every image.",
    )
