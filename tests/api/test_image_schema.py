"""What the operator describes, as clients meet it: refusals, representations, filters, schemas."""

from __future__ import annotations

import pytest

from imaged.core.image_schema import DEFAULT_SCHEMA, ImageSchema, PropertySchema, PropertyType
from support.disk_images import qcow2
from support.service import RAW, Service

pytestmark = pytest.mark.asyncio

UUID = "5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"
DESCRIBED = ImageSchema(
    properties={
        "cores": PropertySchema(types=(PropertyType.INTEGER,), minimum=1),
        "licensed": PropertySchema(types=(PropertyType.BOOLEAN, PropertyType.NULL)),
        "tier": PropertySchema(description="How fast.", choices=("gold", "silver"), max_length=9),
    },
    required=frozenset({"tier"}),
    disk_formats=("raw", "qcow2", "luks", "squashfs"),
    container_formats=("bare", "luks"),
)


def describe(service: Service, schema: ImageSchema) -> None:
    """As a reload does."""
    service.images.schema = service.task_service.schema = schema


def replaced(name: str, value: object) -> list[dict[str, object]]:
    """A patch of one property."""
    return [{"op": "add", "path": f"/{name}", "value": value}]


async def test_the_kernel_of_an_image(service: Service) -> None:
    """Nova and Glance's client send null for an image without a kernel: it is kept, and shown."""
    created = await service.call("POST", "/v2/images", {"kernel_id": None, "ramdisk_id": UUID})
    assert created.status == 201
    image_id = created.json()["id"]
    shown = (await service.call("GET", f"/v2/images/{image_id}")).json()
    assert (shown["kernel_id"], shown["ramdisk_id"]) == (None, UUID)
    found = (await service.call("GET", f"/v2/images?ramdisk_id={UUID}")).json()["images"]
    assert [image["id"] for image in found] == [image_id]
    for value, status in ((UUID, 200), (None, 200), ("none", 400), (5, 400), ([], 400)):
        reply = await service.patch(image_id, replaced("kernel_id", value))
        assert reply.status == status, reply.text
    assert service.image(image_id).properties["kernel_id"] is None


async def test_a_described_property(service: Service) -> None:
    """It is refused by its name, kept in its type, also where a client sends only strings, and
    found by its text.
    """
    describe(service, DESCRIBED)
    for wrong in ({}, {"tier": "lead"}, {"tier": "gold", "cores": 0}, {"tier": None}):
        reply = await service.call("POST", "/v2/images", wrong)
        assert (reply.status, "tier" in reply.text or "cores" in reply.text) == (400, True)
    image_id = await service.create(tier="gold", cores="4", licensed=True)
    shown = (await service.call("GET", f"/v2/images/{image_id}")).json()
    assert (shown["cores"], shown["licensed"]) == (4, True)
    for query, count in (("cores=4", 1), ("licensed=true", 1), ("licensed=True", 0), ("cores=", 0)):
        found = (await service.call("GET", f"/v2/images?{query}")).json()["images"]
        assert len(found) == count, query
    assert (await service.patch(image_id, [{"op": "remove", "path": "/tier"}])).status == 400
    assert (await service.patch(image_id, replaced("licensed", None))).status == 200


async def test_a_record_from_before_the_schema(service: Service) -> None:
    """It is shown, listed and changed, and not made worse."""
    image_id = await service.create(tier="lead", disk_format="vmdk")
    describe(service, DESCRIBED)
    assert (await service.call("GET", f"/v2/images/{image_id}")).json()["tier"] == "lead"
    assert (await service.patch(image_id, replaced("other", "x"))).status == 200
    assert (await service.patch(image_id, replaced("tier", "tin"))).status == 400
    assert (await service.patch(image_id, replaced("tier", "silver"))).status == 200


async def test_tasks_make_no_other_images(service: Service) -> None:
    """The image that a task is to make obeys too."""
    describe(service, DESCRIBED)
    fields = {"import_from": "https://images.test/disk", "import_from_format": "raw"}
    for properties, status in (({}, 400), ({"tier": "gold", "cores": "2"}, 201)):
        task = {"type": "import", "input": {**fields, "image_properties": properties}}
        reply = await service.call("POST", "/v2/tasks", task)
        assert reply.status == status, reply.text
    (image,) = service.facts.images.values()
    assert image.properties["cores"] == 2
    for disk_format, status in (("squashfs", 201), ("vdi", 400)):
        formats = {"disk_format": disk_format, "container_format": "bare"}
        given = {"tier": "gold", **formats}
        asked = {**fields, "import_from_format": disk_format, "image_properties": given}
        reply = await service.call("POST", "/v2/tasks", {"type": "import", "input": asked})
        assert reply.status == status, reply.text


async def test_the_schema_that_is_served(service: Service) -> None:
    """It has the formats, the described properties as no base ones, and what is required."""
    describe(service, DESCRIBED)
    schema = (await service.call("GET", "/v2/schemas/image")).json()
    properties = schema["properties"]
    assert properties["disk_format"]["enum"] == [None, *DESCRIBED.disk_formats]
    assert properties["container_format"]["enum"] == [None, *DESCRIBED.container_formats]
    assert properties["tier"] == {
        "type": "string",
        "description": "How fast.",
        "enum": ["gold", "silver"],
        "maxLength": 9,
        "is_base": False,
    }
    assert properties["licensed"]["type"] == ["boolean", "null"]
    assert schema["required"] == ["tier"]
    listed = (await service.call("GET", "/v2/schemas/images")).json()
    assert listed["properties"]["images"]["items"] == schema
    describe(service, DEFAULT_SCHEMA)
    default = (await service.call("GET", "/v2/schemas/image")).json()
    assert default["properties"]["kernel_id"]["type"] == ["null", "string"]
    assert "required" not in default


@pytest.mark.parametrize(
    ("disk_format", "data", "status"),
    [
        ("squashfs", b"hsqs" + bytes(4096), 204),  # no inspector knows it: taken as it is
        ("squashfs", qcow2(), 204),
        ("luks", bytes(4096), 415),
        ("raw", qcow2(), 415),
    ],
)
async def test_data_of_a_configured_format(
    service: Service, disk_format: str, data: bytes, status: int
) -> None:
    """It is checked where an inspector knows the format."""
    describe(service, DESCRIBED)
    image_id = await service.create(tier="gold", disk_format=disk_format)
    reply = await service.put_data(image_id, data)
    assert reply.status == status, reply.text


async def test_a_format_that_is_not_configured(service: Service) -> None:
    """It is refused, and the sentence has those that are."""
    for name in ("disk_format", "container_format"):
        reply = await service.call("POST", "/v2/images", {**RAW, name: "luks"})
        assert (reply.status, "must be one of" in reply.text) == (400, True)
