"""The API on a catalog and stores in memory, with callers known by their tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.types import ASGIApp, Message

from imaged.api.admission import Admission
from imaged.api.app import ApiServices, ApiSettings, build_app
from imaged.api.authenticator import TokenFile, token_hash
from imaged.api.cors import NO_CORS, CorsSettings
from imaged.api.discovery import StoreFacts
from imaged.api.images import V2_1, ImportCalls
from imaged.api.monitoring import MetricsHandler
from imaged.catalogs.project_limits import CatalogLimits
from imaged.conversion.scratch import LocalScratch, ScratchSettings
from imaged.core.block import TransferBudget
from imaged.core.disk_format import FormatPolicy
from imaged.core.errors import QuotaExceeded
from imaged.core.image import Image
from imaged.core.policy import DEFAULT_POLICY, Policy
from imaged.inspectors.oslo_inspector import OsloInspector
from imaged.lanes import ThreadLane
from imaged.ports.catalog import Catalog
from imaged.ports.disk_image import ImportCheck
from imaged.ports.fetcher import Fetcher
from imaged.ports.store import Store, Stores
from imaged.services.health import Health
from imaged.services.images import Images, RecordLimits
from imaged.services.ingest_pipeline import IngestSettings
from imaged.services.members import Members, MemberSettings
from imaged.services.project_usage import ProjectUsage
from imaged.services.scrubber import ScrubberSettings
from imaged.services.sent_downloads import SentDownloads
from imaged.services.space import RESERVE_AHEAD_BYTES
from imaged.services.tasks.image_converter import ImageConverter
from imaged.services.tasks.runner import RunnerSettings
from imaged.services.tasks.task_type import TaskType
from imaged.services.tasks.types.api_image_import import ImageImport
from imaged.services.tasks.types.convert import Convert
from imaged.services.tasks.types.export import Export
from imaged.services.tasks.types.import_task import ImportTask
from imaged.services.tasks.types.location_import import LocationImport, LocationImportService
from imaged.testing.memory_catalog import MemoryCatalog
from imaged.testing.memory_store import MemoryStore
from support.fake_converter import FakeConverter
from support.memory_destination import MemoryDestination
from support.node import Node
from support.settings import configured

BUDGET_BYTES = 64 * 1024**2
OCTETS = "application/octet-stream"
JSON = "application/json"
BODIES = frozenset({"POST", "PUT", "PATCH"})
RAW = {"disk_format": "raw", "container_format": "bare"}

#: The callers: user, project and roles.
PEOPLE: Mapping[str, tuple[str, str]] = {
    "alice": ("p1", "member"),
    "carol": ("p1", "reader"),
    "bob": ("p2", "member"),
    "rob": ("p2", "reader"),
    "visitor": ("p1", "visitor"),
    "root": ("ops", "admin"),
}

#: What is told of the stores that there are.
STORES = (
    StoreFacts("local", is_default=True, type="file", properties={"data_dir": "/srv/images"}),
    StoreFacts("near", description="beside the machines", type="s3"),
)


class UtcClock:
    """The machine's time."""

    def now(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Service(Node):
    """One instance of the API, with everything that it stands on, in real time."""

    def __init__(
        self,
        *,
        catalog: Catalog | None = None,
        store: Store | None = None,
        max_size_bytes: int = 64 * 1024**2,
        formats: FormatPolicy | None = None,
        public_url: str = "",
        policy: Policy = DEFAULT_POLICY,
        anonymous_read: bool = False,
        fetcher: Fetcher | None = None,
        checks: Sequence[ImportCheck] = (),
        scratch: Path = Path("there is none"),
        metrics: MetricsHandler | None = None,
        cors: CorsSettings = NO_CORS,
    ) -> None:
        self.facts = MemoryCatalog(UtcClock())
        self.bytes = MemoryStore("local")
        self.scratch = LocalScratch(ScratchSettings(scratch, 0))
        self.converter = FakeConverter()
        self.shelf = MemoryDestination()
        catalog = catalog or self.facts
        self.stores = Stores("local", {"local": store or self.bytes, "near": MemoryStore("near")})
        formats = formats or configured(FormatPolicy)
        super().__init__(
            "one",
            catalog,
            self.stores,
            stages=configured(IngestSettings, max_size_bytes=max_size_bytes, formats=formats),
            budget=TransferBudget(BUDGET_BYTES),
            slice_bytes=RESERVE_AHEAD_BYTES,
            tasks=configured(RunnerSettings),
            web=fetcher,
            checks=checks,
            lanes=ThreadLane,
        )
        scrubbing = configured(ScrubberSettings, delay=timedelta(hours=1))
        self.images = Images(catalog, scrubbing, configured(RecordLimits))
        self.members = Members(catalog, configured(MemberSettings))
        self.health = Health(catalog, self.stores)
        self.sent_downloads = SentDownloads(catalog)
        api = ApiServices(
            images=self.images,
            members=self.members,
            uploads=self.ingest,
            downloads=self.downloads,
            sent_downloads=self.sent_downloads,
            tasks=self.task_service,
            imports=ImportCalls(
                self.ingest,
                self.imports,
                LocationImportService(self.task_service, self._located),
            ),
            health=self.health,
            usage=ProjectUsage(catalog, CatalogLimits()),
        )
        self.refused: list[str] = []  # the resources that requests asked too much of
        self.app = build_app(
            api,
            Admission(token_file(), policy=policy, anonymous_read=anonymous_read),
            ApiSettings(public_url, STORES, cors),
            metrics,
            self._count_error,
        )

    def _count_error(self, error: Exception) -> None:
        # Not the error itself: its traceback would keep the blocks of an upload in memory.
        if isinstance(error, QuotaExceeded):
            self.refused.append(error.resource)

    def more_types(self, imported: ImageImport) -> Sequence[TaskType[Any]]:
        """All that the daemon has."""
        catalog, downloads, check_factory = self.catalog, self.downloads, self.check_factory
        conversion = ImageConverter(self.scratch, self.converter, OsloInspector, check_factory)
        self._located = LocationImport(self.web, check_factory)
        return [
            ImportTask(self.web, conversion, check_factory),
            Convert(catalog, downloads, conversion),
            Export(catalog, downloads, conversion, {"archive": self.shelf}, self.budget),
            imported,
            self._located,
        ]

    async def ask_task(
        self, type_name: str, caller: str = "alice", /, **fields: object
    ) -> dict[str, Any]:
        """Ask for a task; what was answered."""
        body = {"type": type_name, "input": fields}
        reply = await self.call("POST", "/v2/tasks", body, caller=caller)
        assert reply.status == 201, reply.text
        task: dict[str, Any] = reply.json()
        return task

    async def do_task(  # type: ignore[override]  # the API answers
        self, type_name: str, caller: str = "alice", /, **fields: object
    ) -> dict[str, Any]:
        """Ask for a task, work on all, and look at it again."""
        task_id = (await self.ask_task(type_name, caller, **fields))["id"]
        await self.run_tasks()
        task: dict[str, Any] = (
            await self.call("GET", f"/v2/tasks/{task_id}", caller=caller)
        ).json()
        return task

    def image(self, image_id: str) -> Image:
        """The image as the catalog has it."""
        return self.facts.images[image_id]

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | object = b"",
        *,
        caller: str | None = "alice",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask the application, without a network between. A body that is no bytes is JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"host": "images.test", **token_of(caller), **(headers or {})}
        if data or method in BODIES:
            sent.setdefault("content-length", str(len(data)))
        if method == "POST":
            sent.setdefault("content-type", JSON)
        return await ask(self.app, method, path, sent, [data])

    async def create(self, caller: str = "alice", /, **attributes: object) -> str:
        """Create an image that may take data; its id."""
        reply = await self.call("POST", "/v2/images", {**RAW, **attributes}, caller=caller)
        assert reply.status == 201, reply.text
        image_id: str = reply.json()["id"]
        return image_id

    async def create_active(self, data: bytes = b"hello", /, **attributes: object) -> str:
        """Create an image with data; its id."""
        image_id = await self.create(**attributes)
        reply = await self.put_data(image_id, data)
        assert reply.status == 204, reply.text
        return image_id

    async def put_data(self, image_id: str, data: bytes, caller: str = "alice") -> Reply:
        """Upload."""
        headers = {"content-type": OCTETS}
        path = f"/v2/images/{image_id}/file"
        return await self.call("PUT", path, data, caller=caller, headers=headers)

    async def patch(
        self, image_id: str, operations: object, caller: str = "alice", media_type: str = V2_1
    ) -> Reply:
        """Change."""
        headers = {"content-type": media_type}
        return await self.call(
            "PATCH", f"/v2/images/{image_id}", operations, caller=caller, headers=headers
        )


def token_of(person: str | None) -> dict[str, str]:
    """What a person shows."""
    return {} if person is None else {"x-auth-token": f"the token of {person}"}


@cache
def token_file() -> TokenFile:
    """The callers, as the daemon knows them."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.toml"
        path.write_text("".join(_entry(person) for person in PEOPLE))
        return TokenFile(path)


async def ask(
    app: ASGIApp, method: str, path: str, headers: Mapping[str, str], chunks: Sequence[bytes]
) -> Reply:
    """One exchange with an ASGI application, as a server would have it."""
    path, _, query = path.partition("?")
    incoming = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, start=1)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        if incoming:
            return incoming.pop(0)
        await asyncio.Event().wait()  # nothing more comes
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "client": ("203.0.113.7", 40000),
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode(), text.encode("latin-1")) for name, text in headers.items()
        ],
        "scheme": "http",
        "server": ("127.0.0.1", 9292),
    }
    await app(scope, receive, send)
    start, *rest = sent
    assert rest
    assert not rest[-1].get("more_body"), "the answer was not finished"
    answered = {name.decode(): text.decode("latin-1") for name, text in start["headers"]}
    return Reply(start["status"], answered, b"".join(message["body"] for message in rest))


def _entry(person: str) -> str:
    project, role = PEOPLE[person]
    digest = token_hash(token_of(person)["x-auth-token"])
    return (
        f'[[token]]\nsha256 = "{digest}"\nuser = "{person}"\n'
        f'project = "{project}"\nroles = ["{role}"]\n'
    )
