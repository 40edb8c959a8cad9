"""A real Keystone on loopback: SQLite, fernet tokens, default policy, in a temporary folder.

Its package is installed into a virtual environment of its own, once for all runs of a user. A
process of tests starts one (the fixture ``keystone``), which all its tests share: each makes
projects and users of its own. A test that kills Keystone, or wants other settings, starts another
one: ``with running_keystone(token={"expiration": 3}) as keystone``.

The calls block: Keystone is a process of its own, and answers within a tenth of a second.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from support.orphans import END_WITH_PARENT
from support.ports import reserve_port
from support.virtualenvs import pinned_environment
from support.waiting import is_listening, wait_until

VERSION = "30.0.0"
REGION = "RegionOne"
DEFAULT_DOMAIN = "default"  # its id; its name is "Default"
START_TIMEOUT_SECONDS = 60.0
ANSWER_TIMEOUT_SECONDS = 30.0
INTERFACES = ("public", "internal", "admin")
PROGRAM = Path(__file__).with_name("keystone_server.py")

#: What the tests would wait for otherwise: few rounds of a hash, and a cache in the one process,
#: which forgets at once what is changed.
QUICK: Mapping[str, Mapping[str, object]] = {
    "identity": {"password_hash_rounds": 4},
    "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
}

Settings = Mapping[str, object]


@dataclass(frozen=True)
class Answer:
    """What Keystone said."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: Any


@dataclass(frozen=True)
class User:
    """Someone who can sign in; to ``project`` if there is one."""

    id: str
    name: str
    password: str
    domain: str = DEFAULT_DOMAIN
    project: str = ""  # its id

    def to(self, project: str) -> User:
        """The same user, who signs in to another project."""
        return replace(self, project=project)


@dataclass
class Keystone:
    """A server, and what an admin does with it. Wrong answers raise AssertionError."""

    folder: Path
    settings: Mapping[str, Settings] = field(default_factory=dict)
    port: int = field(default_factory=reserve_port)
    process: subprocess.Popen[bytes] | None = None
    admin: User = User("", "admin", "made-up-for-an-admin")

    @property
    def url(self) -> str:
        """Where it is found: the value of ``OS_AUTH_URL``."""
        return f"http://127.0.0.1:{self.port}/v3"

    # The process

    def start(self) -> None:
        """Start it, and wait until it answers: also again, on the same port with the same data."""
        self._configure()
        python = str(pinned_environment("keystone") / "python")
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [*END_WITH_PARENT, python, "-P", "-W", "ignore", str(PROGRAM), str(self.folder),
                 str(self.port), self.admin.password],
                stdout=output, stderr=output,
            )  # fmt: skip

        def is_up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log_text()
            return is_listening(self.port)

        wait_until(is_up, self.log_text, START_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """End it at once, as a power cut would. Nothing answers at its port then."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def signal(self, how: signal.Signals) -> None:
        """Send a signal: SIGSTOP lets it hang, SIGCONT go on."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)

    def log_text(self) -> str:
        """What it wrote."""
        files = [self.folder / "output", self.folder / "keystone.log"]
        return "".join(one.read_text()[-4000:] for one in files if one.exists())

    # Asking

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """One request below ``/v3``, by the admin unless another token is given."""
        shown = self.admin_token if token is None else token
        request = urllib.request.Request(  # noqa: S310 - the address is ours
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"X-Auth-Token": shown, "Content-Type": "application/json", **(headers or {})},
            method=method,
        )
        if not shown:
            request.remove_header("X-auth-token")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_SECONDS) as answer:  # noqa: S310
                return _read(answer.status, answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return _read(answer.code, answer)

    def told(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """The body of an answer that must be a success."""
        answer = self.ask(method, path, body, **options)
        assert 200 <= answer.status < 300, f"{method} {path}: {answer}"
        return answer.body

    @cached_property
    def admin_token(self) -> str:
        """For the admin's own project."""
        return self._sign_in(_by_password(self.admin), _project("admin"))

    # People

    def create_domain(self, name: str = "") -> str:
        """A domain; its id."""
        return _id(self.told("POST", "/domains", {"domain": {"name": name or _name()}}))

    def create_project(self, name: str = "", domain: str = DEFAULT_DOMAIN) -> str:
        """A project; its id."""
        project = {"name": name or _name(), "domain_id": domain}
        return _id(self.told("POST", "/projects", {"project": project}))

    def create_user(self, name: str = "", domain: str = DEFAULT_DOMAIN) -> User:
        """A user without any role."""
        name, password = name or _name(), uuid4().hex
        user = {"name": name, "password": password, "domain_id": domain}
        return User(_id(self.told("POST", "/users", {"user": user})), name, password, domain)

    def create_role(self, name: str) -> str:
        """A role beside those that Keystone made; its id."""
        return _id(self.told("POST", "/roles", {"role": {"name": name}}))

    def role_id(self, name: str) -> str:
        """The id of a role: admin, manager, member, reader, service."""
        (role,) = self.told("GET", f"/roles?name={name}")["roles"]
        found: str = role["id"]
        return found

    def grant(
        self, role: str, user: User, *, project: str = "", domain: str = "", on_system: bool = False
    ) -> None:
        """Give a role by its name, on one of the three."""
        self.told("PUT", self._grant_path(role, user, project, domain, on_system))

    def take_back(
        self, role: str, user: User, *, project: str = "", domain: str = "", on_system: bool = False
    ) -> None:
        """The opposite."""
        self.told("DELETE", self._grant_path(role, user, project, domain, on_system))

    def create_person(self, role: str = "member", project: str = "") -> User:
        """A user with a role on a project, which is a new one unless given."""
        project = project or self.create_project()
        user = self.create_user()
        self.grant(role, user, project=project)
        return user.to(project)

    def change_user(self, user: User, **changes: object) -> None:
        """``enabled=False``, ``password=…``."""
        self.told("PATCH", f"/users/{user.id}", {"user": changes})

    def change_project(self, project: str, **changes: object) -> None:
        """``enabled=False``."""
        self.told("PATCH", f"/projects/{project}", {"project": changes})

    # Tokens

    def token(
        self, user: User, *, project: str | None = None, domain: str = "", on_system: bool = False
    ) -> str:
        """For the user's project unless another scope is given; without a scope if it has none."""
        scope = _scope(user.project if project is None else project, domain, on_system)
        return self._sign_in(_by_password(user), scope)

    def unscoped_token(self, user: User) -> str:
        """For no project, domain or system."""
        return self._sign_in(_by_password(user), {"unscoped": {}})

    def create_trust(
        self, trustor: User, trustee: User, roles: Sequence[str], *, impersonation: bool = False
    ) -> str:
        """Let another one act in the trustor's project; the id of the trust."""
        trust = {
            "trustor_user_id": trustor.id,
            "trustee_user_id": trustee.id,
            "project_id": trustor.project,
            "impersonation": impersonation,
            "roles": [{"name": role} for role in roles],
        }
        token = self.token(trustor)
        return _id(self.told("POST", "/OS-TRUST/trusts", {"trust": trust}, token=token))

    def trust_token(self, trustee: User, trust: str) -> str:
        """For what a trust allows."""
        return self._sign_in(_by_password(trustee), {"OS-TRUST:trust": {"id": trust}})

    def create_credential(
        self, user: User, access_rules: Sequence[Mapping[str, str]] = (),
        expires_at: datetime | None = None, **more: object,
    ) -> tuple[str, str]:  # fmt: skip
        """An application credential for the user's project: id and secret.

        ``access_rules``: of ``service``, ``method`` and ``path``.
        """
        wanted: dict[str, object] = {"name": _name(), **more}
        if access_rules:
            wanted["access_rules"] = [*access_rules]
        if expires_at:
            wanted["expires_at"] = expires_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        path = f"/users/{user.id}/application_credentials"
        body = {"application_credential": wanted}
        made = self.told("POST", path, body, token=self.token(user))["application_credential"]
        return made["id"], made["secret"]

    def credential_token(self, credential: str, secret: str) -> str:
        """For the project of an application credential."""
        return self._sign_in(
            {
                "methods": ["application_credential"],
                "application_credential": {"id": credential, "secret": secret},
            },
            None,
        )

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        self.told("DELETE", "/auth/tokens", headers={"X-Subject-Token": token})

    def validate(self, token: str, query: str = "") -> Answer:
        """What Keystone says of a token."""
        headers = {"X-Subject-Token": token, "OpenStack-Identity-Access-Rules": "1.0"}
        return self.ask("GET", f"/auth/tokens{query}", headers=headers)

    # The catalogue

    def create_service(self, kind: str, url: str, region: str = REGION) -> str:
        """A service of a type such as ``image``, with endpoints of each interface; its id.

        Its name is what Glance is registered as: libcloud looks for that.
        """
        name = {"image": "glance"}.get(kind, kind)
        service = _id(self.told("POST", "/services", {"service": {"type": kind, "name": name}}))
        for interface in INTERFACES:
            self.create_endpoint(service, interface, url, region)
        return service

    def create_endpoint(self, service: str, interface: str, url: str, region: str = REGION) -> str:
        """One more endpoint; its id. The region is made if it is not there."""
        if self.ask("GET", f"/regions/{region}").status == 404:
            self.told("PUT", f"/regions/{region}", {"region": {}})
        endpoint = {
            "service_id": service, "interface": interface, "url": url, "region_id": region
        }  # fmt: skip
        return _id(self.told("POST", "/endpoints", {"endpoint": endpoint}))

    def add_region(self, region: str) -> None:
        """A region with endpoints of Keystone itself, which clients look for in their own one."""
        (service,) = self.told("GET", "/services?type=identity")["services"]
        for interface in INTERFACES:
            self.create_endpoint(service["id"], interface, self.url, region)

    @cached_property
    def service_user(self) -> User:
        """The account by which imaged validates tokens: role ``service`` in project ``service``."""
        project = self.create_project("service")
        user = self.create_user("imaged")
        self.grant("service", user, project=project)
        return user.to(project)

    def imaged_settings(self, folder: Path) -> Mapping[str, Settings]:
        """How a daemon is configured that signs callers in here; its password goes to a file."""
        password = folder / "keystone.password"
        password.touch(mode=0o600)
        password.write_text(self.service_user.password)
        account = {
            "url": self.url,
            "username": self.service_user.name,
            "password_file": str(password),
            "project": "service",
        }
        return {"auth": {"method": "keystone"}, "auth.keystone": account}

    def _configure(self) -> None:
        sections: dict[str, dict[str, object]] = {
            "DEFAULT": {"log_file": self.folder / "keystone.log"},
            "database": {"connection": f"sqlite:///{self.folder / 'keystone.db'}"},
            "fernet_tokens": {"key_repository": self.folder / "fernet"},
            "fernet_receipts": {"key_repository": self.folder / "fernet"},
            "credential": {"key_repository": self.folder / "credential"},
        }
        for more in (QUICK, self.settings):
            for section, options in more.items():
                sections.setdefault(section, {}).update(options)
        lines = (
            f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())
            for section, options in sections.items()
        )
        (self.folder / "keystone.conf").write_text("".join(lines))

    def _sign_in(self, identity: Mapping[str, object], scope: object) -> str:
        auth = {"identity": identity} | ({} if scope is None else {"scope": scope})
        answer = self.ask("POST", "/auth/tokens", {"auth": auth}, token="")
        assert answer.status == 201, answer
        return answer.headers["x-subject-token"]

    def _grant_path(self, role: str, user: User, project: str, domain: str, on_system: bool) -> str:
        if on_system:
            return f"/system/users/{user.id}/roles/{self.role_id(role)}"
        place = f"/projects/{project}" if project else f"/domains/{domain}"
        return f"{place}/users/{user.id}/roles/{self.role_id(role)}"


@contextmanager
def running_keystone(**settings: Settings) -> Iterator[Keystone]:
    """Start one, and end it; nothing of it is left. ``settings``: sections of keystone.conf."""
    folder = Path(tempfile.mkdtemp(prefix="keystone-"))
    keystone = Keystone(folder, settings)
    try:
        keystone.start()
        yield keystone
    finally:
        keystone.kill()
        shutil.rmtree(folder)


def _read(status: int, answer: Any) -> Answer:
    data = answer.read()
    headers = {name.lower(): text for name, text in answer.headers.items()}
    is_json = headers.get("content-type", "").startswith("application/json")
    return Answer(status, headers, json.loads(data) if is_json and data else data)


def _id(body: Mapping[str, Mapping[str, str]]) -> str:
    """Of the only thing in a body."""
    (only,) = body.values()
    return only["id"]


def _name() -> str:
    return f"made-up-{uuid4().hex[:12]}"


def _by_password(user: User) -> Mapping[str, object]:
    known = {"name": user.name, "password": user.password, "domain": {"id": user.domain}}
    return {"methods": ["password"], "password": {"user": known}}


def _project(name: str) -> Mapping[str, object]:
    return {"project": {"name": name, "domain": {"id": DEFAULT_DOMAIN}}}


def _scope(project: str, domain: str, on_system: bool) -> Mapping[str, object] | None:
    if on_system:
        return {"system": {"all": True}}
    if domain:
        return {"domain": {"id": domain}}
    return {"project": {"id": project}} if project else None
