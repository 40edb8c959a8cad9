"""Rally, which measures clouds: scenarios that it runs as users of an existing cloud.

Its state is in the daemon's folder, which is its home.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from support.cloud import Cloud
from support.keystone import User
from support.terminal import on_a_terminal
from support.virtualenvs import pinned_environment

#: It polls at the pace of clouds that take minutes.
OPTIONS = """
[database]
connection = sqlite:///{folder}/rally.db
[openstack]
glance_image_create_prepoll_delay = 0
glance_image_create_poll_interval = 0.1
glance_image_import_poll_interval = 0.1
glance_image_delete_poll_interval = 0.1
"""


@dataclass(frozen=True)
class Rally:
    """The program, and an environment of this name for a cloud."""

    cloud: Cloud
    environment: str = "clouds"

    async def prepare(self, users: Sequence[User], admin: User | None = None) -> None:
        """Make its database, and tell it who may sign in to the cloud.

        Without users, it makes projects and users of its own, as the admin.
        """
        folder = self.cloud.daemon.folder
        options = folder / ".rally" / "rally.conf"
        options.parent.mkdir()
        options.write_text(OPTIONS.format(folder=folder))
        spec = {
            "auth_url": self.cloud.keystone.url,
            "region_name": self.cloud.region,
            **({"users": [self._account(user) for user in users]} if users else {}),
            **({"admin": self._account(admin)} if admin else {}),
        }
        (folder / "spec.json").write_text(json.dumps({"existing@openstack": spec}))
        await self.run("db create")
        await self.run(f"env create --name {self.environment} --spec spec.json")

    async def start(self, *subtasks: Mapping[str, object]) -> Sequence[Mapping[str, Any]]:
        """Run scenarios, one after the other, which must succeed; what it reports of each."""
        folder = self.cloud.daemon.folder
        task = {"version": 2, "title": "images", "subtasks": subtasks}
        (folder / "task.json").write_text(json.dumps(task))
        await self.run(f"task start --env {self.environment} task.json")
        await self.run("task report --json --out report.json")
        (report,) = json.loads((folder / "report.json").read_text())["tasks"]
        return [workload for one in report["subtasks"] for workload in one["workloads"]]

    async def run(self, arguments: str) -> str:
        """Give a command, which must succeed; what it says."""
        program = pinned_environment("rally") / "rally"
        folder = self.cloud.daemon.folder
        code, text = await on_a_terminal(f"{program} {arguments}", folder)
        assert code == 0, f"{arguments}: {code}\n{text}\n{self.cloud.daemon.log_text()[-4000:]}"
        return text

    def _account(self, user: User) -> Mapping[str, str]:
        keystone = self.cloud.keystone
        project = keystone.told("GET", f"/projects/{user.project}")["project"]["name"]
        return {
            "username": user.name,
            "password": user.password,
            "project_name": project,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }
