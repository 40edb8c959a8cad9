"""Rules of an operator, and callers without a token, at the application."""

from __future__ import annotations

from itertools import product

import pytest

from imaged.core.image import Visibility
from imaged.core.policy import Policy
from support.service import Service

pytestmark = pytest.mark.asyncio

SECRET = "secret"
#: Only those with the role `cleared` see images with this property.
CLEARED = "rule:context_is_admin or role:reader and (role:cleared or not 'secret':%(level)s)"

READS = ["/v2/images", "/v2/images/{id}", "/v2/images/{id}/file"]
OTHERS = [
    ("POST", "/v2/images"),
    ("PATCH", "/v2/images/{id}"),
    ("DELETE", "/v2/images/{id}"),
    ("PUT", "/v2/images/{id}/file"),
    ("GET", "/v2/images/{id}/tasks"),
    ("GET", "/v2/images/{id}/history"),
    ("GET", "/v2/tasks"),
    ("GET", "/v2/info/stores"),
    ("GET", "/v2/info/import"),
    ("GET", "/v2/schemas/image"),
    ("GET", "/v2/nothing"),
]


@pytest.mark.parametrize(("visibility", "method"), list(product(Visibility, ["GET", "HEAD"])))
async def test_anonymous_callers_read_public_images(visibility: Visibility, method: str) -> None:
    """They list, show and download those; others do not exist for them."""
    service = Service(anonymous_read=True)
    image_id = await _active(service, visibility)
    is_public = visibility is Visibility.PUBLIC

    for path in READS[1:]:
        reply = await service.call(method, path.format(id=image_id), caller=None)
        assert reply.status == (200 if is_public else 404), reply.text
    for query in ("", "?visibility=all", f"?visibility={visibility}", "?owner=ops"):
        reply = await service.call("GET", f"/v2/images{query}", caller=None)
        listed = [image["id"] for image in reply.json()["images"]]
        assert listed == ([image_id] if is_public else []), query


@pytest.mark.parametrize(("method", "path"), OTHERS)
async def test_anonymous_callers_do_nothing_else(method: str, path: str) -> None:
    """All other calls need a token, also on public images."""
    service = Service(anonymous_read=True)
    image_id = await _active(service, Visibility.PUBLIC)
    reply = await service.call(method, path.format(id=image_id), b"{}", caller=None)

    assert reply.status == 401
    assert "www-authenticate" in reply.headers


@pytest.mark.parametrize("path", READS)
async def test_a_bad_token_is_not_anonymous(path: str) -> None:
    """A caller that sends a wrong token is told so; without the setting, all callers are."""
    for service, headers in (
        (Service(anonymous_read=True), {"x-auth-token": "made-up"}),
        (Service(), {}),
    ):
        image_id = await _active(service, Visibility.PUBLIC)
        asked = path.format(id=image_id)
        reply = await service.call("GET", asked, caller=None, headers=headers)
        assert reply.status == 401


async def test_a_rule_of_the_operator_decides_what_is_seen() -> None:
    """By a property: record, data, history and changes of the image do not exist for others."""
    service = Service(policy=Policy({"get_image": CLEARED, "download_image": CLEARED}))
    hidden = await service.create_active(level=SECRET)
    shown = await service.create_active()

    for path in ("", "/file", "/history", "/tasks"):
        assert (await service.call("GET", f"/v2/images/{shown}{path}")).status == 200
        assert (await service.call("GET", f"/v2/images/{hidden}{path}")).status == 404
        reply = await service.call("GET", f"/v2/images/{hidden}{path}", caller="root")
        assert reply.status == 200


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_a_list_loses_no_page_to_a_rule(limit: int) -> None:
    """Pages are full although most images are hidden, and each but the last has a next."""
    service = Service(policy=Policy({"get_image": CLEARED}))
    shown = set()
    for number in range(12):
        level = "open" if number % 4 == 0 else SECRET
        image_id = await service.create(level=level)
        if level == "open":
            shown.add(image_id)
    address, pages = f"/v2/images?limit={limit}", []
    while address:
        page = (await service.call("GET", address)).json()
        pages.append([image["id"] for image in page["images"]])
        address = page.get("next", "")

    assert {image_id for page in pages for image_id in page} == shown
    assert sum(len(page) for page in pages) == len(shown)
    assert all(len(page) == limit for page in pages[:-1])


async def test_who_may_list_is_a_rule() -> None:
    """Also where nothing would be listed."""
    service = Service(policy=Policy({"get_images": "role:auditor"}))

    assert (await service.call("GET", "/v2/images")).status == 403
    assert (await service.call("GET", "/v2/images?limit=0")).status == 403


async def test_a_refusal_by_an_operators_rule_names_it() -> None:
    """So that it is found in the policy file."""
    service = Service(policy=Policy({"delete_image": "role:undertaker"}))
    image_id = await service.create()
    reply = await service.call("DELETE", f"/v2/images/{image_id}")

    assert reply.status == 403
    assert "The rule 'delete_image' of the policy does not permit this to you." in reply.text


async def _active(service: Service, visibility: Visibility) -> str:
    image_id = await service.create("root", visibility=visibility)
    await service.put_data(image_id, b"hello", "root")
    return image_id
