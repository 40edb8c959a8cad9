"""Lists of images: what each parameter finds, and in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

import pytest
import pytest_asyncio

from imaged.core.limits import MAX_PROPERTIES, MAX_TAGS
from imaged.services.images import RecordLimits
from imaged.services.tasks.task_service import TaskServiceSettings
from support.faults import catalog_fails, override_calls
from support.service import Service
from support.settings import configured

pytestmark = pytest.mark.asyncio

DAY = datetime(2026, 11, 20, 12, 0, 0, 500_000, tzinfo=UTC)
A, B, C, D = (f"00000000-0000-4000-8000-00000000000{letter}" for letter in "abcd")


@pytest_asyncio.fixture
async def listed(service: Service) -> Service:
    """Four images of alice, made on four days: a, b, c and, hidden, d."""
    await service.create(id=A, name="a", tags=["x", "y"], os_distro="debian", min_ram=1)
    await service.create(id=B, name="b", tags=["x"], disk_format="qcow2", protected=True)
    await service.create(id=C, name="a,c", visibility="private", min_ram=3)
    await service.create(id=D, name="d", os_hidden=True)
    await service.put_data(A, b"hello")
    for number, image_id in enumerate([A, B, C, D]):
        moment = DAY + timedelta(days=number)
        image = service.image(image_id)
        service.facts.images[image_id] = replace(image, created_at=moment, updated_at=moment)
    return service


async def found(service: Service, query: str, caller: str = "alice") -> str:
    """The images that a query finds, each by the last letter of its id."""
    reply = await service.call("GET", f"/v2/images?{query}", caller=caller)
    assert reply.status == 200, reply.text
    return "".join(image["id"][-1] for image in reply.json()["images"])


FOUND = [
    ("", "cba"),
    ("name=a", "a"),
    ("name=eq:a", "a"),
    ("name=in:a,b", "ba"),
    ("name=in:%22a,c%22,b", "cb"),
    ("name=in:", ""),
    ("name=", ""),
    (f"id={A}", "a"),
    (f"id=in:{A},{C}", "ca"),
    ("status=active", "a"),
    ("status=in:active,queued", "cba"),
    ("status=pending_delete", ""),
    ("disk_format=qcow2", "b"),
    ("container_format=bare", "cba"),
    ("owner=p1", "cba"),
    ("owner=p2", ""),
    ("checksum=5d41402abc4b2a76b9719d911017c592", "a"),
    ("os_hash_algo=sha512", "a"),
    ("os_hash_value=x", ""),
    ("size=5", "a"),
    ("size=0", ""),
    ("size_min=5", "a"),
    ("size_max=4", ""),
    ("min_ram=1", "a"),
    ("min_ram_min=1&min_ram_max=3", "ca"),
    ("min_disk=0", "cba"),
    ("protected=true", "b"),
    ("protected=False", "ca"),
    ("os_hidden=true", "d"),
    ("os_hidden=false", "cba"),
    ("visibility=private", "c"),
    ("visibility=shared", "ba"),
    ("visibility=all", "cba"),
    ("tag=x", "ba"),
    ("tag=x&tag=y", "a"),
    ("tag=z", ""),
    ("os_distro=debian", "a"),
    ("os_distro=suse", ""),
    ("self=x", ""),
    ("deleted=true", ""),
    ("deleted=false", "cba"),
    ("virtual_size=5", "a"),
    ("virtual_size=6", ""),
    ("virtual_size_min=5", "a"),
    ("virtual_size_max=4", ""),
    ("virtual_size_min=1&virtual_size_max=9", "a"),
    ("size_min=5&size_max=5", "a"),
    ("min_disk_max=0", "cba"),
    ("name=foo:bar", ""),
    ("name=eq:a:b", ""),
    ("status=foo:bar", ""),
    ("status=bogus", ""),
    ("disk_format=in:raw,qcow2", "cba"),
    ("container_format=in:ova,bare", "cba"),
    ("created_at=neq:2026-11-21T12:00:00.500000&created_at=lt:2026-11-21", "a"),
    ("member_status=all", "cba"),
    ("name=b&name=a", "a"),
    ("created_at=2026-11-21T12:00:00Z", "b"),
    ("created_at=eq:2026-11-21T12:00:00Z", "b"),
    ("created_at=gt:2026-11-21T12:00:00Z", "c"),
    ("created_at=gte:2026-11-21T12:00:00Z", "cb"),
    ("created_at=lt:2026-11-21T12:00:00Z", "a"),
    ("created_at=lte:2026-11-21T12:00:00Z", "ba"),
    ("created_at=neq:2026-11-21T12:00:00.500000", "ca"),
    ("created_at=2026-11-21T12:00:00.500000", "b"),
    ("updated_at=gt:2026-11-21", "cb"),
    ("created_at=2026-11-21T13:00:00%2B01:00", "b"),
    ("sort=name", "bca"),
    ("sort=name:asc", "acb"),
    ("sort=disk_format:asc,name:desc", "bca"),
    ("sort=size:asc,id:desc", "cba"),
    ("sort=created_at:asc,created_at:desc", "abc"),
    ("sort_key=name", "bca"),
    ("sort_key=name&sort_dir=asc", "acb"),
    ("sort_key=disk_format&sort_key=name&sort_dir=asc", "bac"),
    ("sort_key=disk_format&sort_key=name&sort_dir=desc&sort_dir=asc", "acb"),
    ("sort_dir=asc", "abc"),
    ("sort=%20name%20:%20asc", "acb"),
    ("sort=status", "cba"),
    ("sort=status:asc,name:asc", "acb"),
    ("sort=container_format", "cba"),
    ("sort=updated_at:asc", "abc"),
    ("sort=size:desc", "acb"),
    ("sort=id:asc", "abc"),
    ("sort_key=%20name", "bca"),
    ("sort_key=size&sort_key=id&sort_dir=desc&sort_dir=asc", "abc"),
    ("limit=2", "cb"),
    ("limit=0", ""),
    (f"marker={B}", "a"),
    (f"marker={B.upper()}", "a"),
    (f"marker={B}&sort=name:asc", ""),
    (f"marker={A}", ""),
]


@pytest.mark.parametrize(("query", "letters"), FOUND)
async def test_what_is_found(listed: Service, query: str, letters: str) -> None:
    """A parameter finds what it says, in the order that is asked for."""
    assert await found(listed, query) == letters


REFUSED = [
    ("limit=", "limit"),
    ("limit=1.5", "limit"),
    ("limit=%D9%A1", "limit"),
    ("limit=" + "9" * 5000, "limit"),
    ("marker=", "marker"),
    (f"marker={A[:-1]}f", "marker"),
    ("sort=", "sort"),
    ("sort=name:up", "sort"),
    ("sort=owner", "sort"),
    ("sort=name,", "sort"),
    ("sort=name&sort_dir=asc", "sort"),
    ("sort_key=name&sort_dir=asc&sort_dir=asc", "sort_dir"),
    ("sort_key=", "sort_key"),
    ("name=gt:a", "name"),
    ("name=in:%22a", "name"),
    ("name=in:%22a%22b", "name"),
    ("name=in:" + ",".join(["a"] * 101), "name"),
    ("name=a%00b", "name"),
    ("os_distro=a%00b", "os_distro"),
    ("tag=%1B", "tag"),
    ("name=neq:a", "name"),
    ("status=lt:active", "status"),
    ("deleted=x", "deleted"),
    ("changes-since=2020", "changes-since"),
    ("sort_dir=up", "sort_dir"),
    ("size=x", "size"),
    ("size=-1", "size"),
    ("size=9223372036854775808", "size"),
    ("size_min=", "size_min"),
    ("min_disk_max=1e3", "min_disk_max"),
    ("virtual_size=x", "virtual_size"),
    ("virtual_size_min=-1", "virtual_size_min"),
    ("created_at=", "created_at"),
    ("created_at=in:2026-11-20", "created_at"),
    ("created_at=gt:", "created_at"),
    ("created_at=gt:20:10", "created_at"),
    ("created_at=gt:9999-12-31T23:59:59", "created_at"),
    ("created_at=0001-01-01T00:00:00%2B10:00", "created_at"),
    ("visibility=", "visibility"),
    ("member_status=", "member_status"),
]


@pytest.mark.parametrize(("query", "name"), REFUSED)
async def test_what_is_refused(service: Service, query: str, name: str) -> None:
    """A parameter without a meaning is refused by its name."""
    reply = await service.call("GET", f"/v2/images?{query}")
    assert (reply.status, f"'{name}'" in reply.text) == (400, True), reply.text


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("ubuntu:22.04", "ubuntu:22.04"),
        ("a:b:c", "a:b:c"),
        (":", ":"),
        (" in:a", " in:a"),
        ("gt:a", "eq:gt:a"),
        ("in:a", "eq:in:a"),
        ("eq:a", "eq:eq:a"),
        ("in:a,b", 'in:"in:a,b",c'),
        ('a"b', 'in:"a\\"b"'),
        ("a,b:c", "a,b:c"),
    ],
)
async def test_a_colon_is_part_of_a_name(service: Service, name: str, asked: str) -> None:
    """Text before it is an operator only if that is one; all behind ``eq:`` is the value."""
    await service.create(name="another")
    image_id = await service.create(name=name)
    reply = await service.call("GET", f"/v2/images?{urlencode({'name': asked})}")
    assert [image["id"] for image in reply.json()["images"]] == [image_id]


async def test_invisible_marker_is_no_marker(listed: Service) -> None:
    """A marker does not tell that there is an image which the caller may not see."""
    theirs = await listed.call("GET", f"/v2/images?marker={C}", caller="bob")
    unknown = await listed.call("GET", f"/v2/images?marker={A[:-1]}f", caller="bob")
    assert (theirs.status, theirs.text) == (400, unknown.text)


async def test_marker_that_is_no_id_is_not_looked_up(service: Service) -> None:
    """No catalog is asked for text that no image can have as its id."""
    blind = Service(catalog=override_calls(service.facts, get_image=catalog_fails))
    for marker in ("bogus", "%00", "x" * 999):
        assert (await blind.call("GET", f"/v2/images?marker={marker}")).status == 400


@pytest.mark.parametrize(
    ("caller", "query", "letters"),
    [
        ("bob", "", "a"),
        ("bob", "visibility=all", "ba"),
        ("bob", "visibility=community", "b"),
        ("bob", "owner=p1", "a"),
        ("alice", "", "cba"),
        ("carol", "", "cba"),
        ("root", "", "ca"),
        ("root", "visibility=all", "cba"),
        ("root", "os_hidden=true", "d"),
    ],
)
async def test_visible_images_of_each_caller(
    listed: Service, caller: str, query: str, letters: str
) -> None:
    """Public images are listed for all, community images of others when they are asked for."""
    public = [{"op": "replace", "path": "/visibility", "value": "public"}]
    community = [{"op": "replace", "path": "/visibility", "value": "community"}]
    assert (await listed.patch(A, public, "root")).status == 200
    assert (await listed.patch(B, community)).status == 200
    assert await found(listed, query, caller) == letters


async def test_page_that_ends_exactly_has_no_next(listed: Service) -> None:
    """Whether another page follows is known, and not guessed."""
    for limit, has_next in ((1, True), (2, True), (3, False), (4, False), (0, False)):
        reply = await listed.call("GET", f"/v2/images?limit={limit}")
        assert ("next" in reply.json()) is has_next


async def test_default_page_has_25_images(service: Service) -> None:
    """Without a limit a page has 25, and a link to the next."""
    for _ in range(26):
        await service.create()
    reply = (await service.call("GET", "/v2/images")).json()
    assert len(reply["images"]) == 25
    following = (await service.call("GET", reply["next"])).json()
    assert (len(following["images"]), "next" in following) == (1, False)


async def test_page_is_capped(service: Service) -> None:
    """A page has at most 1000 images."""
    image = service.image(await service.create())
    for number in range(1001):
        image_id = f"00000000-0000-4000-8000-{number:012}"
        service.facts.images[image_id] = replace(image, id=image_id)
    reply = (await service.call("GET", "/v2/images?limit=5000")).json()
    assert len(reply["images"]) == 1000


async def test_links_lose_no_parameter(listed: Service) -> None:
    """Page by page, links repeat every filter, key and direction, each as often as it was given."""
    given = [
        ("tag", "x"), ("tag", "x"), ("name", 'in:"a",b'), ("name", 'in:"a,c",a,b'),
        ("sort_key", "name"), ("sort_key", "size"), ("sort_dir", "asc"), ("sort_dir", "desc"),
        ("created_at", "gt:2026-11-01T00:00:00+00:00"), ("min_ram_min", "0"), ("limit", "1"),
        ("visibility", "all"), ("os_hidden", "false"), ("member_status", "all"),
    ]  # fmt: skip
    link, found_ids = f"/v2/images?{urlencode(given)}", ""
    while link:
        page = (await listed.call("GET", link)).json()
        assert parse_qsl(page["first"].partition("?")[2]) == given
        link = page.get("next", "")
        if link:
            marker = ("marker", page["images"][-1]["id"])
            assert parse_qsl(link.partition("?")[2]) == [*given, marker]
        found_ids += "".join(image["id"][-1] for image in page["images"])
    assert found_ids == "ab"


async def test_links_carry_the_query(listed: Service) -> None:
    """First and next repeat what was asked for, all tags too."""
    reply = (await listed.call("GET", "/v2/images?tag=x&tag=x&limit=1&name=in:a,b")).json()
    assert reply["first"] == "/v2/images?tag=x&tag=x&limit=1&name=in%3Aa%2Cb"
    assert reply["next"] == f"{reply['first']}&marker={B}"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ([("tag", f"t{number}") for number in range(MAX_TAGS + 1)], "tag"),
        ([(f"p{number}", "x") for number in range(MAX_PROPERTIES + 1)], f"p{MAX_PROPERTIES}"),
    ],
    ids=["tags", "properties"],
)
async def test_more_filters_than_an_image_can_match(
    service: Service, query: list[tuple[str, str]], name: str
) -> None:
    """They are refused, and the sentence says how many there may be; one less is asked."""
    reply = await service.call("GET", f"/v2/images?{urlencode(query)}")
    assert (reply.status, f"'{name}'" in reply.text, "128" in reply.text) == (400, True, True)
    assert (await service.call("GET", f"/v2/images?{urlencode(query[1:])}")).status == 200
    again = [*query[1:], query[1]]
    assert (await service.call("GET", f"/v2/images?{urlencode(again)}")).status == 200


async def test_a_page_ends_early_where_images_are_large(service: Service) -> None:
    """It has a link to the next one, and page by page every image comes once."""
    service.images.limits = configured(RecordLimits, max_page_bytes=3 * 5000)
    made = [await service.create(note="x" * 4000) for _ in range(7)]
    link, seen, pages = "/v2/images?limit=5&sort=id:asc", [], 0
    while link:
        page = (await service.call("GET", link)).json()
        seen += [image["id"] for image in page["images"]]
        link, pages = page.get("next"), pages + 1
    assert (seen, pages) == (sorted(made), 4)  # of two, and the last one alone


async def test_properties_have_a_size_in_all(service: Service) -> None:
    """413 where they are created, patched or asked for by a task; nothing is changed by it."""
    service.images.limits = configured(RecordLimits, max_properties_bytes=10_000)
    service.task_service.settings = configured(TaskServiceSettings, max_properties_bytes=10_000)
    image_id = await service.create(a="x" * 9000)
    before = service.image(image_id)
    asked = {"a": "x" * 9000, "b": "x" * 1000}
    fields = {"import_from": "https://images.test/disk", "import_from_format": "raw"}
    task = {"type": "import", "input": {**fields, "image_properties": asked}}
    step = {"op": "add", "path": "/b", "value": "x" * 1000}
    for reply in (
        await service.call("POST", "/v2/images", asked),
        await service.patch(image_id, [step]),
        await service.call("POST", "/v2/tasks", task),
    ):
        assert (reply.status, "10000 bytes" in reply.text) == (413, True), reply.text
    assert list(service.facts.images.values()) == [before]


async def test_large_properties_of_before_may_shrink(service: Service) -> None:
    """An image from before the limit is shown, listed and changed, as long as it does not grow."""
    image_id = await service.create(a="x" * 9000, b="x" * 9000)
    service.images.limits = configured(RecordLimits, max_properties_bytes=10_000)
    rename = {"op": "replace", "path": "/name", "value": "renamed"}
    shrink = {"op": "replace", "path": "/a", "value": "x" * 8000}
    grow = {"op": "replace", "path": "/a", "value": "x" * 9000}
    statuses = [(await service.patch(image_id, [step])).status for step in (rename, shrink, grow)]
    assert statuses == [200, 200, 413]
    assert service.image(image_id).properties["a"] == "x" * 8000
