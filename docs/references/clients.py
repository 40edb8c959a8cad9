"""Makes the page of clients: what each asks of the Image API, and what of that is answered.

Whether a call is answered comes from the application's paths. What a client asks is from running it
(``tests/interop/test_clients.py``), or from its source in the version that is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from references.calls import CALLS, IMAGE, TASK
from references.markdown import MADE, code, table

_HEAD = f"""\
# Clients

{MADE}

For operators and users who want to know whether their tools work with imaged: how each client
signs in, and what it asks of the OpenStack Image API v2. [Calls](api.md) has the details of each.

Clients that sign in through Keystone do so as with Glance, where `auth.method` is `"keystone"`, and
the catalogue of Keystone has imaged's address as the service of the type `image`. Otherwise imaged
authenticates by a [file of tokens](../how-to/authenticate.md), or not at all.
"""


@dataclass(frozen=True)
class Client:
    """A client, in the version that was run or read, and whether it can be used."""

    version: str
    today: str
    is_run: bool = True


CLIENTS: Mapping[str, Client] = {
    "`openstack image`": Client(
        "python-openstackclient 10.5.0",
        "works, through Keystone; without it with `OS_AUTH_TYPE=none` and `OS_ENDPOINT`, or a "
        "cloud of `clouds.yaml`; with a token of imaged's own file `OS_AUTH_TYPE=admin_token`, "
        "`OS_TOKEN`, and an `OS_ENDPOINT` that ends with `/v2`",
    ),
    "openstacksdk": Client(
        "openstacksdk 4.22.0", "works: the same types of authentication; so does 4.5.0"
    ),
    "`glance`": Client(
        "python-glanceclient 4.13.0",
        "works, through Keystone; without it with `--os-image-url` and `--os-auth-token`, any word "
        "where imaged wants no token",
    ),
    "Ansible": Client(
        "openstack.cloud 2.5.0",
        "works, through Keystone: the modules `image` and `image_info`, with openstacksdk 4.5.0",
    ),
    "Apache Libcloud": Client(
        "apache-libcloud 3.9.1",
        "works, through Keystone: lists, shows, changes and shares images, if the service is named "
        "`glance` in the catalogue; it cannot upload",
    ),
    "Rally": Client(
        "rally 5.1.1 with rally-openstack 4.1.0",
        "works, through Keystone: every scenario of `GlanceImages` but that which boots servers; "
        "with users that are there, or with an admin, as whom it makes users",
    ),
    "gophercloud": Client(
        "gophercloud 0.12.0",
        "works, through Keystone; without it, in programs that make a service client themselves, "
        "from an endpoint and a token. 2.14.0 asks for the same, as its source says",
    ),
    "Nova": Client(
        "nova 34.0.0",
        "signs in through Keystone: it passes on the token of its user, with python-glanceclient",
        is_run=False,
    ),
    "Terraform, OpenTofu": Client(
        "terraform-provider-openstack 3.4.0", "signs in through Keystone", is_run=False
    ),
    "Packer": Client(
        "packer-plugin-openstack 1.1.4",
        "signs in through Keystone, and needs Nova to build on",
        is_run=False,
    ),
    "`imaged push`, `pull` …": Client(
        "of this version",
        "works, also through Keystone: `imaged login`, `clouds.yaml`, `OS_AUTH_URL` …; or "
        "`IMAGED_URL` and `IMAGED_TOKEN`",
    ),
}


@dataclass(frozen=True)
class Behaviour:
    """What a client does that its users do not expect; seen when the tests ran it."""

    client: str
    what: str
    remedy: str


BEHAVIOURS = (
    Behaviour(
        "python-openstackclient 10.5.0",
        "`image import --wait` does not wait: the option is taken, and never read",
        "ask `image show` until the status is `active`",
    ),
    Behaviour(
        "python-openstackclient 10.5.0",
        "`image list --limit 1 --sort name` shows the newest image: the client sorts what it got, "
        "and filters by `--property` after that too",
        "leave `--limit` out",
    ),
    Behaviour(
        "python-openstackclient 10.5.0",
        "`image create` and `image stage` read standard input as the data, unless it is a terminal",
        "`--file`, or a terminal",
    ),
    Behaviour(
        "openstacksdk 4.22.0",
        "`create_image` with the same name and the same file sends it again, and makes a second "
        "image",
        "`validate_checksum=True` at both calls",
    ),
    Behaviour(
        "openstacksdk 4.22.0",
        "`update_image_properties` fails with `AttributeError` if it gets an id or a name",
        "give it the image that `get_image` returned",
    ),
    Behaviour(
        "python-glanceclient 4.13.0",
        "says `You are not permitted to delete the image` if the image is protected",
        "`image-update --protected False`",
    ),
    Behaviour(
        "apache-libcloud 3.9.1",
        "`delete_image` asks Nova to delete the image, by a call that new Novas do not have",
        "delete with another client",
    ),
    Behaviour(
        "gophercloud 0.12.0, 2.14.0",
        "`images.List` takes `SizeMin` and `SizeMax`, `tasks.List` takes `ID` and `Type`, and "
        "neither sends them: what is listed is not filtered by these",
        "compare them in what was listed",
    ),
    Behaviour(
        "gophercloud 0.12.0, 2.14.0",
        "`images.List` fails if one of the images has a property `metadata`, or one with the name "
        "of an attribute in capitals that is no text, such as `Min_Disk`; 0.12.0 also fails with "
        "`properties`",
        "give properties other names",
    ),
    Behaviour(
        "gophercloud 0.12.0, 2.14.0",
        "`imagedata.Upload` whose token has expired signs in again, and sends what it has not read "
        "of the data yet: of a stream, only the rest is stored; a file is closed by then, and the "
        "call fails",
        "sign in again before (`Reauthenticate`), or give it a `bytes.Reader`; compare `Checksum` "
        "at the end",
    ),
    Behaviour(
        "gophercloud 0.12.0, 2.14.0",
        "`openstack.AuthOptionsFromEnv` reads no `OS_USER_DOMAIN_ID`, no `OS_USER_DOMAIN_NAME`",
        "`OS_DOMAIN_ID` or `OS_DOMAIN_NAME` with the same value",
    ),
    Behaviour(
        "rally-openstack 4.1.0",
        "`rally task start` ends with 2 if a scenario failed, by its own fault too: with users who "
        "are there, `user_choice_method: round_robin` is `KeyError: 'users'`",
        "`random`, the default; `rally task detailed` has the errors",
    ),
    Behaviour(
        "keystoneauth1 5.18.1",
        "`max_version` without `min_version` finds no service; where the address in the catalogue "
        "ends with `/v2`, `get_api_major_version` is 2.0: it does not ask the service",
        "give both, or none; register the address without `/v2`",
    ),
)


@dataclass(frozen=True)
class Operation:
    """Something that clients ask for, and by what; an empty text: this client never does."""

    what: str
    calls: tuple[tuple[str, str], ...]
    openstack: str = ""  # subcommands of `openstack image`
    glance: str = ""  # subcommands of `glance`
    openstacksdk: str = ""  # methods of `connection.image`
    gophercloud: str = (
        ""  # functions below `openstack/image/v2` (0.12: `openstack/imageservice/v2`)
    )
    nova: bool = False
    terraform: bool = False
    packer: bool = False
    imaged: str = ""  # commands

    @property
    def is_answered(self) -> bool:
        """Whether imaged has all of its calls."""
        return CALLS.keys() >= {*self.calls}


MEMBERS = f"{IMAGE}/members"

OPERATIONS = (
    Operation(
        "list images, with filters",
        (("GET", "/v2/images"),),
        "list", "image-list", "images", "images.List",
        nova=True, terraform=True, packer=True, imaged="ls",
    ),
    Operation(
        "show an image",
        (("GET", IMAGE),),
        "show", "image-show", "get_image", "images.Get",
        nova=True, terraform=True, packer=True, imaged="show",
    ),
    Operation(
        "make a record, then upload its data",
        (("POST", "/v2/images"), ("PUT", f"{IMAGE}/file")),
        "create", "image-create, image-upload", "create_image", "images.Create, imagedata.Upload",
        nova=True, terraform=True, imaged="push",
    ),
    Operation(
        "download",
        (("GET", f"{IMAGE}/file"),),
        "save", "image-download", "download_image", "imagedata.Download", nova=True, imaged="pull",
    ),
    Operation(
        "change properties, visibility, protection",
        (("PATCH", IMAGE),),
        "set, unset", "image-update", "update_image", "images.Update",
        nova=True, terraform=True, packer=True, imaged="set",
    ),
    Operation(
        "delete",
        (("DELETE", IMAGE),),
        "delete", "image-delete", "delete_image", "images.Delete",
        nova=True, terraform=True, packer=True, imaged="rm",
    ),
    Operation(
        "set and remove a tag",
        (("PUT", f"{IMAGE}/tags/{{tag}}"), ("DELETE", f"{IMAGE}/tags/{{tag}}")),
        "set --tag, unset --tag", "image-tag-update, image-tag-delete", "add_tag, remove_tag",
    ),
    Operation(
        "deactivate, reactivate",
        (("POST", f"{IMAGE}/actions/deactivate"), ("POST", f"{IMAGE}/actions/reactivate")),
        "set --deactivate, set --activate", "image-deactivate, image-reactivate",
        "deactivate_image, reactivate_image",
    ),
    Operation(
        "import from a URL, or from staged data",
        (("POST", f"{IMAGE}/import"), ("PUT", f"{IMAGE}/stage"), ("GET", "/v2/info/import")),
        "import, stage, import info", "image-import, image-stage, import-info",
        "import_image, stage_image, get_import_info",
        "imageimport.Get, imageimport.Create, imagedata.Stage",
        terraform=True, packer=True,
    ),
    Operation(
        "list stores",
        (("GET", "/v2/info/stores"),),
        "stores list", "stores-info", "stores",
    ),
    Operation(
        "tasks: list, show, create",
        (("GET", "/v2/tasks"), ("GET", TASK), ("POST", "/v2/tasks")),
        "task list, task show", "task-list, task-show, task-create",
        "tasks, get_task, create_task", "tasks.List, tasks.Get, tasks.Create",
    ),
    Operation(
        "tasks of an image", (("GET", f"{IMAGE}/tasks"),), "", "image-tasks", "image_tasks",
    ),
    Operation(
        "schemas",
        (("GET", "/v2/schemas/image"), ("GET", "/v2/schemas/images")),
        "", "explain", "get_image_schema, get_images_schema", nova=True,
    ),
    Operation(
        "give the place of the data, instead of the data",
        (("POST", f"{IMAGE}/locations"),),
        "", "add-location", "add_image_location",
    ),
    Operation(
        "share an image with a project",
        (
            *((method, MEMBERS) for method in ("GET", "POST")),
            *((method, f"{MEMBERS}/{{member_id}}") for method in ("GET", "PUT", "DELETE")),
        ),
        "add project, remove project, member list, set --accept",
        "member-create, member-update, member-delete, member-list",
        "add_member, get_member, find_member, update_member, remove_member, members",
        "members.Create, members.Get, members.Update, members.Delete, members.List",
        terraform=True, packer=True,
    ),
    Operation(
        "read where the data is", (("GET", f"{IMAGE}/locations"),), "", "", "image_locations",
    ),
    Operation("usage and quota of a project", (("GET", "/v2/info/usage"),), "", "usage"),
    Operation(
        "remove the copy in one store",
        (("DELETE", "/v2/stores/{store_id}/{image_id}"),),
        "delete --store", "stores-delete", "delete_image",
    ),
    Operation(
        "the cache of a server",
        (("GET", "/v2/cache"), ("PUT", "/v2/cache/{image_id}"), ("DELETE", "/v2/cache")),
        "", "cache-list, cache-queue, cache-clear", "get_image_cache, queue_image, clear_cache",
    ),
    Operation(
        "definitions of metadata",
        (("GET", "/v2/metadefs/namespaces"),),
        "metadef namespace list", "md-namespace-list", "metadef_namespaces",
    ),
)  # fmt: skip


_THERE = """\
## What is there

A name in a cell is how this client asks for it; ●: the client does so by itself; an empty cell: it
never does. `imaged show` also asks for the history of an image, which is ours alone.
"""

_NOT_THERE = """\
## What is not there

These calls get 404, or 405 where only another method is there. Until then: `visibility` (`public`,
`community`) shares images, a task of the type `clone`
makes a copy in another store. The import method `copy-image`, of which Nova makes use where Glance
has several stores, gets 400.
"""

_SURPRISES = """\
## What users of these clients meet

Seen with imaged, and the same with any service of images.
"""

_COLUMNS = (
    "", "`openstack image …`", "`glance …`", "openstacksdk", "gophercloud", "Nova", "Terraform",
    "Packer", "`imaged …`",
)  # fmt: skip


def reference() -> str:
    """The page: which client can sign in, and what is answered."""
    return "\n".join(
        [
            _HEAD,
            table(("client", "version", "today", "known from"), _sign_in()),
            _THERE,
            table(_COLUMNS, _rows(is_answered=True)),
            _NOT_THERE,
            table(_COLUMNS, _rows(is_answered=False)),
            _SURPRISES,
            table(
                ("client", "what it does", "what helps"),
                ((one.client, one.what, one.remedy) for one in BEHAVIOURS),
            ),
        ]
    )


def _sign_in() -> Iterator[tuple[str, str, str, str]]:
    for name, client in CLIENTS.items():
        yield name, client.version, client.today, "tests" if client.is_run else "its source"


def _rows(*, is_answered: bool) -> Iterator[tuple[str, ...]]:
    for one in OPERATIONS:
        if one.is_answered is is_answered:
            names = (one.openstack, one.glance, one.openstacksdk, one.gophercloud)
            uses = (one.nova, one.terraform, one.packer)
            yield (
                one.what,
                *(_names(text) for text in names),
                *("●" if does else "" for does in uses),
                _names(one.imaged),
            )


def _names(text: str) -> str:
    return ", ".join(code(name) for name in text.split(", ")) if text else ""
