"""The ASGI application: the table of all paths, behind authentication."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from imaged.api.admission import Admission
from imaged.api.cors import NO_CORS, CorsSettings, allow_origins
from imaged.api.discovery import VERSION_PATHS, StoreFacts, StoreRecords, Versions, version_2_path
from imaged.api.http_errors import NoSuchPath, NotInVersion
from imaged.api.image_data import ImageData
from imaged.api.images import ImageRecords, ImportCalls
from imaged.api.members import MemberRecords
from imaged.api.middleware import OnError, RequestMiddleware, ignore_error
from imaged.api.monitoring import METRICS_PATH, MetricsHandler, Probes
from imaged.api.resource import CALLER_SCOPE_KEY, Links, Resource
from imaged.api.schemas import (
    ImageSchemas,
    TaskSchemas,
    show_member_schema,
    show_members_schema,
)
from imaged.api.tasks import TaskRecords
from imaged.api.usage import UsageRecords
from imaged.api.versions import announced_versions
from imaged.services.downloads import Downloads
from imaged.services.health import Health
from imaged.services.images import Images
from imaged.services.ingest import Ingester
from imaged.services.members import Members
from imaged.services.project_usage import ProjectUsage
from imaged.services.sent_downloads import SentDownloads
from imaged.services.tasks.task_service import TaskService


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The service as clients see it."""

    public_url: str = ""  # prefix of links in answers; default: the address of the request
    stores: Sequence[StoreFacts] = ()  # the stores that an upload may name
    cors: CorsSettings = NO_CORS


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """The services that the application calls."""

    images: Images
    members: Members
    uploads: Ingester
    downloads: Downloads
    sent_downloads: SentDownloads
    tasks: TaskService
    imports: ImportCalls
    health: Health
    usage: ProjectUsage


def build_app(
    services: ApiServices,
    admission: Admission,
    settings: ApiSettings,
    metrics: MetricsHandler | None = None,
    on_error: OnError = ignore_error,
) -> ASGIApp:
    """Build the application. It serves HTTP only: no lifespan, no websockets."""
    links = Links(settings.public_url)
    table = paths(services, links, settings.stores)
    routes = [Route(path, resource) for path, resource in table.items()]
    if metrics is not None:
        routes.append(Route(METRICS_PATH, Resource(GET=metrics.tell_with_token)))
    router = Router(routes, redirect_slashes=False, default=_not_found)
    answering = RequestMiddleware(Authentication(admission, router), on_error)
    return allow_origins(answering, settings.cors)


def build_metrics_app(metrics: MetricsHandler) -> ASGIApp:
    """The application for addresses that serve only metrics."""
    route = Route(METRICS_PATH, Resource(GET=metrics.tell))
    return RequestMiddleware(Router([route], redirect_slashes=False, default=_only_metrics))


def paths(
    services: ApiServices, links: Links, stores: Sequence[StoreFacts]
) -> Mapping[str, Resource]:
    """Every path that is served, with its resource; those that are asked for most come first,
    because the router tries them in turn.
    """
    probes, known = Probes(services.health), StoreRecords(stores)
    imports, tasks = services.imports, services.tasks
    records = ImageRecords(services.images, links, [store.id for store in stores], imports.methods)
    members = MemberRecords(services.members)
    data = ImageData(services.uploads, services.downloads, services.sent_downloads)
    work, task_schemas = TaskRecords(tasks, links), TaskSchemas(tasks.registry.names)
    schemas = ImageSchemas(services.images)
    image, find = "/v2/images/{image_id}", records.find
    served = {
        "/v2/images": Resource(GET=records.list, POST=records.create),
        image: Resource(find=find, GET=records.show, PATCH=records.patch, DELETE=records.delete),
        f"{image}/file": Resource(
            find=find, created_by_put=True, GET=data.get, HEAD=data.head, PUT=data.put
        ),
        f"{image}/stage": Resource(find=find, created_by_put=True, PUT=imports.stage),
        f"{image}/import": Resource(find=find, POST=imports.begin),
        f"{image}/locations": Resource(find=find, POST=imports.add_location),
        f"{image}/actions/deactivate": Resource(find=find, POST=records.deactivate),
        f"{image}/actions/reactivate": Resource(find=find, POST=records.reactivate),
        f"{image}/tags/{{tag}}": Resource(
            find=find, PUT=records.add_tag, DELETE=records.remove_tag
        ),
        f"{image}/members": Resource(find=find, GET=members.list, POST=members.create),
        f"{image}/members/{{member_id}}": Resource(
            find=find, GET=members.show, PUT=members.answer, DELETE=members.delete
        ),
        f"{image}/tasks": Resource(GET=work.list_for_image),
        f"{image}/history": Resource(GET=records.history),
        "/v2/tasks": Resource(GET=work.list, POST=work.create),
        "/v2/tasks/{task_id}": Resource(find=work.show, GET=work.show, DELETE=work.delete),
        "/v2/tasks/{task_id}/actions/cancel": Resource(find=work.show, POST=work.cancel),
        "/v2/info/import": Resource(GET=imports.tell),
        "/v2/info/stores": Resource(GET=known.list),
        "/v2/info/stores/detail": Resource(GET=known.detail),
        "/v2/info/usage": Resource(GET=UsageRecords(services.usage).tell),
        "/v2/schemas/image": Resource(GET=schemas.show_image),
        "/v2/schemas/images": Resource(GET=schemas.show_images),
        "/v2/schemas/member": Resource(GET=show_member_schema),
        "/v2/schemas/members": Resource(GET=show_members_schema),
        "/v2/schemas/task": Resource(GET=task_schemas.show_task),
        "/v2/schemas/tasks": Resource(GET=task_schemas.show_tasks),
        "/livez": Resource(GET=probes.live),
        "/readyz": Resource(GET=probes.ready),
        "/healthcheck": Resource(GET=probes.ready),
    }
    versions = Versions(links, announced_versions(calls_of(served)))
    return {
        **served,
        "/": Resource(GET=versions.choose),
        "/versions": Resource(GET=versions.show),
        "/v2": Resource(GET=versions.enter),
        "/v2/": Resource(GET=versions.show),
    }


def calls_of(table: Mapping[str, Resource]) -> Iterator[str]:
    """Each call that is served, as in ``GET /v2/images/{image_id}``."""
    for path, resource in table.items():
        for method in resource.handlers:
            yield f"{method} {path}"


class Authentication:
    """Recognises the version of the API in the path, and authenticates requests below it."""

    def __init__(self, admission: Admission, app: ASGIApp) -> None:
        self._admission = admission
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. Raises Unauthenticated, NotPermitted, KeystoneError."""
        headers = Headers(scope=scope)
        path = version_2_path(scope["path"], headers.get("accept", ""))
        if path is not None:
            scope = {**scope, "path": path}
        if path is not None and path not in VERSION_PATHS:
            caller = await self._admission.caller_of(scope["method"], path, headers)
            bind_contextvars(user_id=caller.user, project_id=caller.project)
            scope[CALLER_SCOPE_KEY] = caller
        await self._app(scope, receive, send)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse all other paths of the API. Raises NoSuchPath, NotInVersion."""
    del receive, send
    raise NoSuchPath if CALLER_SCOPE_KEY in scope else NotInVersion


async def _only_metrics(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse all other paths of an address for metrics. Raises NoSuchPath."""
    del scope, receive, send
    raise NoSuchPath
