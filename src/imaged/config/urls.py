"""Settings that are URLs: of services, of origins, of the catalog."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

SQLITE_PREFIX = "sqlite:///"
WRONG_PORT = "must have a port from 1 to 65535"

#: Of the Filesystem Hierarchy Standard, section 3.
_TOP_FOLDERS = {"etc", "home", "media", "mnt", "opt", "root", "run", "srv", "tmp", "usr", "var"}


def _split_url(url: str) -> SplitResult:
    """The parts of a URL. Raises ValueError for a bad host or port."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError('must be a URL such as "https://host" or "https://[IPv6]:port"') from None
    try:
        is_bad = parts.port == 0
    except ValueError:
        is_bad = True
    if is_bad:
        raise ValueError(WRONG_PORT)
    return parts


def _check_public_url(url: str) -> str:
    parts = _split_url(url)
    if url and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query):
        raise ValueError('must be "" or begin with "http://" or "https://" and a host')
    return url.rstrip("/")


def _check_origin(origin: str) -> str:
    """RFC 6454, section 6.2: what a browser sends has no path, and no port that is the default."""
    parts = _split_url(origin.lower())
    default_port = {"http": 80, "https": 443}.get(parts.scheme)
    is_whole = origin.lower() == f"{parts.scheme}://{parts.netloc}" and "@" not in origin
    if not parts.hostname or default_port is None or not is_whole:
        raise ValueError(
            'must be an origin such as "https://horizon.example.net": a scheme and a host, without '
            'path and without "/" at the end; "*" and "null" are not allowed'
        )
    if parts.port == default_port:
        raise ValueError(f"must leave out the port :{default_port}, as browsers do")
    return origin.lower()


def _check_catalog_url(url: str) -> str:
    file = url.removeprefix(SQLITE_PREFIX)
    is_file = file not in {url, ""} and not file.startswith(":")
    if not is_file and not _names_database(url):
        raise ValueError(
            'must be "sqlite:////absolute/path/of/a/file" or "postgresql://user@host/database"'
        )
    if is_file and looks_absolute(file):
        raise ValueError(
            "is a relative path, because it has three slashes: for the absolute one write "
            f'"sqlite:////{file}", and for a folder beside this file "sqlite:///./{file}"'
        )
    return url


def looks_absolute(file: str) -> bool:
    """Whether a relative path begins like an absolute one without its slash: a likely mistake."""
    return file.partition("/")[0] in _TOP_FOLDERS and "/" in file


def _names_database(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # a bad IPv6 address
        return False
    if parts.scheme not in {"postgresql", "postgres"} or parts.fragment:
        return False
    return bool(parts.path.strip("/"))


def _check_endpoint(url: str) -> str:
    if not url:
        return url
    parts = _split_url(url)
    is_good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    is_bare = not parts.username and not parts.password
    is_bare = is_bare and not parts.query and not parts.fragment
    if not is_good or not is_bare:
        raise ValueError(
            'must be "" or begin with "http://" or "https://" and a host; keys must not be in it'
        )
    return url.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
Origin = Annotated[str, AfterValidator(_check_origin)]
PublicUrl = Annotated[str, AfterValidator(_check_public_url)]
CatalogUrl = Annotated[str, AfterValidator(_check_catalog_url)]
