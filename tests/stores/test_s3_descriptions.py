"""What the library reads of its descriptions of S3."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import DataNotFoundError
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

import imaged
from imaged.stores.s3.descriptions import OPERATIONS, lean_loader

SOURCES = Path(imaged.__file__).parent
CALLERS = [*SOURCES.glob("stores/s3/*.py"), SOURCES / "exports/s3.py"]
REGIONS = ["us-east-1", "eu-central-2", "cn-north-1", "us-gov-west-1", "new-region-9"]


def without_texts(description: Any) -> Any:
    """The same as plain dictionaries, without documentation."""
    if isinstance(description, dict):
        return {
            name: without_texts(value)
            for name, value in description.items()
            if name != "documentation"
        }
    return description


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    """S3 as imaged's loader reads it."""
    found: dict[str, Any] = lean_loader().load_service_model("s3", "service-2")
    return found


@pytest.fixture(scope="module")
def whole_model() -> dict[str, Any]:
    """S3 as the library's loader reads it."""
    found: dict[str, Any] = without_texts(Loader().load_service_model("s3", "service-2"))
    return found


def test_an_operation_is_described_as_the_library_does(
    model: dict[str, Any], whole_model: dict[str, Any]
) -> None:
    """With every structure that it refers to, and without others."""
    assert set(model["operations"]) == OPERATIONS
    assert all(model["shapes"][name] == whole_model["shapes"][name] for name in model["shapes"])
    for name, operation in model["operations"].items():
        assert operation == whole_model["operations"][name]
    assert referred(model) == set(model["shapes"])
    assert len(model["shapes"]) < len(whole_model["shapes"])
    assert model["metadata"] == whole_model["metadata"]


def test_texts_for_people_are_dropped(model: dict[str, Any]) -> None:
    """They are two thirds of the file."""
    assert model["operations"] == without_texts(model["operations"])
    assert model["shapes"] == without_texts(model["shapes"])


def test_every_call_is_described() -> None:
    """A call that is not would fail when it is made."""
    known = {xform_name(name) for name in OPERATIONS}

    called = {
        argument.value
        for file in CALLERS
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in {"call", "call_once"}
        for argument in node.args[:1]
        if isinstance(argument, ast.Constant)
    }

    assert "upload_part" in called
    assert called <= known


@pytest.mark.parametrize("service", ["s3", "sts"])
@pytest.mark.parametrize("region", REGIONS)
def test_endpoints_are_those_of_the_library(service: str, region: str) -> None:
    """In each partition, and of services that credentials come from."""
    lean, whole = (
        EndpointResolver(loader.load_data("endpoints")) for loader in (lean_loader(), Loader())
    )

    assert lean.construct_endpoint(service, region) == whole.construct_endpoint(service, region)
    assert len(lean.get_available_partitions()) == len(whole.get_available_partitions())


def test_endpoints_of_other_services_are_dropped() -> None:
    """There are some three hundred services."""
    first, *_ = lean_loader().load_data("endpoints")["partitions"]

    assert "s3" in first["services"]
    assert "ec2" not in first["services"]


def test_other_descriptions_are_whole() -> None:
    """Such as those of services that give credentials; what is missing is told as usual."""
    loader, whole = lean_loader(), Loader()

    for name in ("endpoint-rule-set-1", "paginators-1"):
        assert loader.load_service_model("s3", name) == whole.load_service_model("s3", name)
    assert loader.load_service_model("sts", "service-2") == whole.load_service_model(
        "sts", "service-2"
    )
    with pytest.raises(DataNotFoundError):
        loader.load_data("nothing")


def test_an_operators_own_descriptions_are_found(tmp_path: Path) -> None:
    """In the folders of AWS_DATA_PATH."""
    (tmp_path / "note.json").write_text('{"is": "found"}')

    assert lean_loader(str(tmp_path)).load_data("note") == {"is": "found"}


def referred(description: Any) -> set[str]:
    """The names of all structures that are referred to."""
    if isinstance(description, list):
        return set().union(*map(referred, description))
    if not isinstance(description, dict):
        return set()
    own = {description["shape"]} if isinstance(description.get("shape"), str) else set()
    return own.union(*map(referred, description.values()))
