"""The page of clients tells of calls, commands and versions that there are."""

from __future__ import annotations

from importlib.metadata import entry_points, version

import pytest
from openstack.image.v2._proxy import Proxy

from imaged.cli import COMMANDS
from references.calls import CALLS
from references.clients import CLIENTS, OPERATIONS, Operation

#: What no client of the table asks for by itself.
NOT_TOLD = {
    ("GET", "/v2/"),
    ("HEAD", "/v2/images/{image_id}/file"),
    ("GET", "/v2/info/stores/detail"),
    ("GET", "/v2/schemas/member"),
    ("GET", "/v2/schemas/members"),
    ("GET", "/v2/schemas/task"),
    ("GET", "/v2/schemas/tasks"),
}


def test_every_call_of_the_api_is_told() -> None:
    """Those that are ours alone are on the page of calls."""
    served = {
        call
        for call, facts in CALLS.items()
        if call[1].startswith("/v2/") and not facts.note.startswith("**Ours.**")
    }

    assert served - NOT_TOLD == served & {call for one in OPERATIONS for call in one.calls}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.what)
def test_clients_have_what_the_page_says(operation: Operation) -> None:
    """Commands of `openstack` and `imaged`, and methods of openstacksdk."""
    openstack = {one.name for one in entry_points(group="openstack.image.v2")}
    for command in filter(None, operation.openstack.split(", ")):
        words = command.partition(" --")[0].replace(" ", "_")
        assert f"image_{words}" in openstack
    for method in filter(None, operation.openstacksdk.split(", ")):
        assert hasattr(Proxy, method)
    assert {*filter(None, [operation.imaged])} <= COMMANDS.keys()


def test_versions_are_those_that_tests_run() -> None:
    """A newer client is run before the page tells of it."""
    assert CLIENTS["`openstack image`"].version.endswith(version("python-openstackclient"))
    assert CLIENTS["openstacksdk"].version.endswith(version("openstacksdk"))
