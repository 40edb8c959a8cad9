"""The library's descriptions of S3, without what imaged does not use: that took 11 MiB of memory.

The library reads how to make a call from files that come with it: all operations of S3 with their
documentation, and the regional endpoints of all services of Amazon. Here only the operations that
imaged calls are decoded, and the endpoints of S3 and of the services that credentials may come
from. What is not found there the library takes from its defaults, as for a service that is new.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from botocore.loaders import JSONFileLoader, Loader

#: Every operation that a store, an export or the library itself calls.
OPERATIONS = frozenset(
    {
        "AbortMultipartUpload",
        "CompleteMultipartUpload",
        "CopyObject",
        "CreateMultipartUpload",
        "CreateSession",  # by the library, for directory buckets
        "DeleteObject",
        "GetObject",
        "HeadBucket",
        "HeadObject",
        "ListMultipartUploads",
        "ListObjectsV2",
        "ListParts",
        "PutObject",
        "UploadPart",
        "UploadPartCopy",
    }
)
#: Services with endpoints that a session may need: S3, and where credentials come from.
SERVICES = frozenset({"s3", "sts", "sso", "portal.sso", "oidc", "signin"})

_SHAPE = re.compile(rb'"shape"\s*:\s*"([^"]+)"')

Json = dict[str, Any]
RawJson = Mapping[str, msgspec.Raw]


def lean_loader(search_paths: str | None = None) -> Loader:
    """A loader for the session. ``search_paths``: the user's own folders of descriptions."""
    paths = [] if search_paths is None else search_paths.split(":")
    return Loader(extra_search_paths=paths, file_loader=LeanFileLoader())


class LeanFileLoader(JSONFileLoader):
    """Reads descriptions from files. What is dropped is not decoded, so it takes no memory."""

    def load_file(self, file_path: str) -> Json | None:
        """The content of ``file_path`` with the suffix that it has; None if there is no file."""
        data = _read(Path(file_path))
        if data is None:
            return None
        match file_path.rsplit("/", 3)[-3:]:
            case [*_, "endpoints"]:
                return _endpoints(data)
            case ["s3", _, "service-2"]:
                return _service(data)
            case _:
                content: Json = _decode(data)
                return content


def _read(path: Path) -> bytes | None:
    for suffix, decompress in ((".json", bytes), (".json.gz", gzip.decompress)):
        file = path.with_name(path.name + suffix)
        if file.is_file():
            return decompress(file.read_bytes())
    return None


def _endpoints(data: bytes) -> Json:
    content = _parts(data)
    partitions = msgspec.json.decode(content["partitions"], type=list[dict[str, msgspec.Raw]])
    return {
        **_decoded(content, but="partitions"),
        "partitions": [
            {
                **_decoded(partition, but="services"),
                "services": _chosen(_parts(partition["services"]), SERVICES),
            }
            for partition in partitions
        ],
    }


def _service(data: bytes) -> Json:
    content = _parts(data)
    operations = _parts(content["operations"])
    shapes = _parts(content["shapes"])
    chosen = _chosen(operations, OPERATIONS)
    used = _reachable(shapes, (operations[name] for name in chosen))
    return {
        **_decoded(content, but="operations", also_but="shapes"),
        "operations": _undocumented(chosen),
        "shapes": _undocumented(_chosen(shapes, used)),
    }


def _reachable(shapes: RawJson, roots: Iterable[msgspec.Raw]) -> set[str]:
    """The names of all shapes that these descriptions refer to, and those refer to."""
    found: set[str] = set()
    texts = [bytes(root) for root in roots]
    while texts:
        for name in map(bytes.decode, _SHAPE.findall(texts.pop())):
            if name in shapes and name not in found:
                found.add(name)
                texts.append(bytes(shapes[name]))
    return found


def _undocumented(description: Any) -> Any:
    """The same without texts for people, which are under the name ``documentation``."""
    if isinstance(description, list):
        return [_undocumented(item) for item in description]
    if not isinstance(description, dict):
        return description
    return {
        name: _undocumented(value)
        for name, value in description.items()
        if not (name == "documentation" and isinstance(value, str))
    }


def _chosen(content: RawJson, names: Iterable[str]) -> Json:
    """Those of these names that there are, in the order of the file."""
    wanted = frozenset(names)
    return {name: _decode(value) for name, value in content.items() if name in wanted}


def _decoded(content: RawJson, *, but: str, also_but: str = "") -> Json:
    return {name: _decode(value) for name, value in content.items() if name not in {but, also_but}}


def _parts(data: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The values of an object, not decoded."""
    return msgspec.json.decode(data, type=dict[str, msgspec.Raw])


def _decode(data: bytes | msgspec.Raw) -> Any:
    return msgspec.json.decode(data)
