"""What a client takes bytes, names, addresses and answers for: tables, without a service."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaged.cli.transfers import TransferOptions, reachable_url
from imaged.client.download_target import MAX_NAME_BYTES, safe_name
from imaged.client.errors import (
    AuthenticationFailed,
    EndpointInvalid,
    ErrorResponse,
    FileUnusable,
    TemporaryError,
    UnexpectedResponse,
    error_of_status,
)
from imaged.client.http_session import error_message, read_endpoint
from imaged.client.image_api import read_record
from imaged.client.push import RemoteState, remote_state
from imaged.client.transfer import retry_pauses
from imaged.client.upload_source import COMPRESSED, SIGNATURES, Formats, choose_formats
from imaged.config.types import parse_address
from imaged.core.disk_format import CONTAINER_FORMATS, DISK_FORMATS
from imaged.core.lifecycle import Status

RECORD = {"id": "an-id", "name": "a", "status": "active", "size": 4, "checksum": "AB" * 16}


@pytest.mark.parametrize(("offset", "mark", "disk"), SIGNATURES)
def test_a_signature_tells_the_format(offset: int, mark: bytes, disk: str) -> None:
    """At any offset, with any file name."""
    formats = choose_formats(b"\0" * offset + mark + b"\0" * 9, "x.img")

    assert (formats.disk, formats.container) == (disk, "bare")
    assert disk in DISK_FORMATS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.vhd", ("vhd", "bare")),
        ("a.OVA", ("vmdk", "ova")),
        ("a.ari", ("ari", "ari")),
        ("a.qcow2", ("raw", "bare")),
        ("-", ("raw", "bare")),
    ],
)
def test_a_suffix_tells_formats_without_a_signature(name: str, expected: tuple[str, str]) -> None:
    """A suffix does not override a missing signature."""
    formats = choose_formats(b"\0" * 100, name)

    assert (formats.disk, formats.container) == expected
    assert formats.container in CONTAINER_FORMATS


@pytest.mark.parametrize(("mark", "packing"), COMPRESSED)
def test_formats_of_compressed_files_are_not_guessed(mark: bytes, packing: str) -> None:
    """Unless the format is given."""
    with pytest.raises(FileUnusable, match=packing):
        choose_formats(mark, "a.raw")
    assert choose_formats(mark, "a.raw", "qcow2", "compressed").why == ""
    assert choose_formats(mark, "a.raw", "raw") == Formats("raw", "bare")


@pytest.mark.parametrize(
    ("disk", "container", "name", "expected"),
    [
        ("raw", None, "a.img", Formats("raw", "bare")),
        ("vmdk", None, "a.ova", Formats("vmdk", "ova")),
        ("aki", None, "vmlinuz", Formats("aki", "aki")),
        ("qcow2", "docker", "a.img", Formats("qcow2", "docker")),
        (None, "docker", "a.img", Formats("qcow2", "docker", "by its content")),
    ],
)
def test_what_is_told_is_not_guessed(
    disk: str | None, container: str | None, name: str, expected: Formats
) -> None:
    """A reason is that of a guess."""
    assert choose_formats(b"QFI\xfb" + b"\0" * 99, name, disk, container) == expected


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://h:9292", "http://h:9292"),
        ("http://h:9292/v2/", "http://h:9292"),
        ("https://h/image/v2.7", "https://h/image"),
        ("http://h:9292/v2/images", "http://h:9292"),
        ("unix:/run/x.sock", "http://imaged"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    """With a version at the end or without."""
    assert read_endpoint(address).url == url


@pytest.mark.parametrize(
    "address",
    [
        "h:9292",
        "http://",
        "http://h:0",
        "http://h:x",
        "http://u:p@h",
        "http://u:p/q@h",
        "http://h?a",
        "",
    ],
)
def test_wrong_addresses_are_refused(address: str) -> None:
    """And no password in it is repeated."""
    with pytest.raises(EndpointInvalid) as refused:
        read_endpoint(address)
    assert "u:p" not in str(refused.value)


@pytest.mark.parametrize("token", ["", "two words", "line\nline", "ünï"])
def test_wrong_tokens_are_refused(token: str) -> None:
    """The token is neither in the error nor in the representation."""
    with pytest.raises(EndpointInvalid) as refused:
        read_endpoint("http://h", token=token)
    assert not token or token not in str(refused.value)
    assert "secret" not in repr(read_endpoint("http://h", token="secret"))


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({"IMAGED_URL": "http://a", "OS_ENDPOINT": "http://b"}, "http://a"),
        ({"OS_IMAGE_ENDPOINT_OVERRIDE": "http://c", "OS_ENDPOINT": "http://b"}, "http://c"),
        ({"OS_ENDPOINT": "http://b"}, "http://b"),
        ({"IMAGED_API__BIND": "127.0.0.1:7"}, "http://127.0.0.1:7"),
        ({"IMAGED_LOG__LEVEL": "wrong"}, "http://127.0.0.1:9292"),
    ],
)
def test_the_address_of_the_service(environment: dict[str, str], url: str) -> None:
    """Variables win over the configuration; a wrong configuration is ignored."""
    elsewhere = environment | {"XDG_CONFIG_HOME": "/nonexistent"}
    assert TransferOptions().endpoint(elsewhere).url == url


@pytest.mark.parametrize(
    ("addresses", "url"),
    [
        (["0.0.0.0:7"], "http://127.0.0.1:7"),
        (["[::]:1"], "http://[::1]:1"),
        (["127.0.0.1:0", "unix:/x"], "unix:/x"),
        (["h:5", "unix:/x"], "http://h:5"),
        (["127.0.0.1:0"], None),
    ],
)
def test_the_reachable_url_of_a_daemon(addresses: list[str], url: str | None) -> None:
    """The first address that this machine can connect to."""
    assert reachable_url(tuple(map(parse_address, addresses))) == url


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("debian 12", "debian 12"),
        ("../../x", "_.._x"),
        ("..", "an-id"),
        ("", "an-id"),
        ("-rf", "rf"),
        ("a\u202eb\n", "a_b_"),
        ("ü" * 300, "ü" * (MAX_NAME_BYTES // 2)),
    ],
)
def test_names_become_names_of_files(name: str, expected: str) -> None:
    """Of this folder, that can be seen and read."""
    assert safe_name(read_record({**RECORD, "name": name})) == expected


def test_records_are_read() -> None:
    """With the strongest digest first; what is unknown is left out."""
    record = read_record({**RECORD, "os_hash_algo": "sha512", "os_hash_value": "CD"})
    old = read_record({**RECORD, "os_hash_algo": "whirlpool", "os_hash_value": "CD"})

    assert list(record.digests.items()) == [("sha512", "cd"), ("md5", "ab" * 16)]
    assert list(old.digests) == ["md5"]
    assert record.fingerprint != old.fingerprint


@pytest.mark.parametrize("answer", [[], None, {}, {"id": 1, "status": "active"}, {"id": "x"}])
def test_wrong_records_are_refused(answer: object) -> None:
    """As a ClientError, and no other error."""
    with pytest.raises(UnexpectedResponse):
        read_record(answer)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"message": "No room.", "code": "413"}', "No room."),
        (b"<html><head><title>413</title></head><body><h1>No</h1> room.</body>", "No room."),
        (b"413 Too Large\n\nNo room.\n", "No room."),
        (b"\x1b[31mred", "[31mred"),
        (b"", "otherwise"),
        (b"[1]", "otherwise"),
    ],
)
def test_refusals_become_one_sentence(body: bytes, sentence: str) -> None:
    """In any script; without control characters."""
    assert error_message(body, "otherwise") == sentence


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationFailed),
        (503, TemporaryError),
        (429, TemporaryError),
        (408, TemporaryError),
        (413, ErrorResponse),
        (409, ErrorResponse),
    ],
)
def test_refusals_worth_another_try(status: int, kind: type[ErrorResponse]) -> None:
    """The class of the error says whether to retry."""
    assert type(error_of_status(status, "no")) is kind


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_remote_state(status: Status) -> None:
    """Only queued images are sent again, and only those with data are done."""
    seen = remote_state(status)

    assert (seen is RemoteState.WAITING_FOR_DATA) == (status is Status.QUEUED)
    assert (seen is RemoteState.COMPLETE) == (status in {Status.ACTIVE, Status.DEACTIVATED})
    assert (seen is RemoteState.UNUSABLE) == (
        status in {Status.KILLED, Status.DELETED, Status.PENDING_DELETE}
    )


def test_tries_are_limited() -> None:
    """One pause less than tries, growing up to a bound, and not always the same."""
    first, second = (list(retry_pauses(9)) for _ in range(2))

    assert len(first) == 8
    assert first != second
    assert all(0.25 <= pause.total_seconds() <= 20 for pause in first)
    assert not list(retry_pauses(1))


def test_certificates_must_be_there(tmp_path: Path) -> None:
    """Refused before anything is sent."""
    with pytest.raises(EndpointInvalid, match="There is no file"):
        read_endpoint("https://h", ca_file=tmp_path / "missing.pem")
