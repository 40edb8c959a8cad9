"""A small cloud: a real Keystone, and a daemon that is the service of images in its catalogue.

Users sign in as they do elsewhere, by their variables ``OS_…`` or a ``clouds.yaml``. The Keystone
is shared by all tests of a process; so each cloud is a region of its own.
"""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from imaged.config import load
from imaged.core.image import Image
from imaged.daemon.drivers import open_catalog
from support.client import Client
from support.daemon import Daemon
from support.keystone import Keystone, Settings, User


@dataclass(frozen=True)
class Cloud:
    """Keystone, imaged, and two projects: each with a member, one of them also with an admin."""

    keystone: Keystone
    daemon: Daemon
    region: str
    admin: User
    member: User
    neighbour: User  # a member of the other project

    def variables(self, user: User) -> Mapping[str, str]:
        """What the file ``openrc`` of a user sets."""
        scope = {"OS_PROJECT_ID": user.project} if user.project else {}
        return scope | {
            "OS_AUTH_URL": self.keystone.url,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_USERNAME": user.name,
            "OS_PASSWORD": user.password,
            "OS_USER_DOMAIN_ID": user.domain,
            "OS_REGION_NAME": self.region,
        }

    def write_clouds(self, **users: User) -> Path:
        """A ``clouds.yaml`` in the daemon's folder, with a cloud for each user; JSON is YAML."""
        clouds = {
            name: {
                "auth": {
                    "auth_url": self.keystone.url,
                    "username": user.name,
                    "password": user.password,
                    "user_domain_id": user.domain,
                    "project_id": user.project,
                },
                "region_name": self.region,
            }
            for name, user in users.items()
        }
        file = self.daemon.folder / "clouds.yaml"
        file.write_text(json.dumps({"clouds": clouds}))
        return file

    def client(self, user: User) -> Client:
        """A client that sends a token of this user."""
        return Client(self.daemon.url, self.keystone.token(user))

    async def image(self, image_id: str) -> Image:
        """What the catalog has of an image: the record itself, not an answer of the API."""
        config = load(self.daemon.config, self.daemon.backend.environment)
        async with open_catalog(config) as catalog:
            return await catalog.get_image(image_id)

    async def members(self, image_id: str) -> Mapping[str, str]:
        """The members of an image, and what they have answered."""
        image = await self.image(image_id)
        return {project: str(member.status) for project, member in image.members.items()}


def chosen(image: Image) -> Mapping[str, object]:
    """The properties that its user chose: openstacksdk adds some, to recognise the file again."""
    added = "owner_specified."
    return {name: value for name, value in image.properties.items() if not name.startswith(added)}


@asynccontextmanager
async def running_cloud(
    folder: Path, keystone: Keystone, **sections: Settings
) -> AsyncIterator[Cloud]:
    """Start imaged, and tell Keystone where it is. ``sections``: more of its configuration."""
    settings = {"scrubber": {"delay": "1h"}, **keystone.imaged_settings(folder), **sections}
    daemon = Daemon(folder, settings)
    member = keystone.create_person("member")
    admin = keystone.create_person("admin", member.project)
    cloud = Cloud(keystone, daemon, uuid4().hex, admin, member, keystone.create_person("member"))
    await daemon.start()
    try:
        keystone.add_region(cloud.region)
        keystone.create_service("image", daemon.url, cloud.region)
        yield cloud
    finally:
        await daemon.end(signal.SIGKILL)
