"""The settings of a bucket, its secrets, and the translation of S3's errors."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from imaged.config.secrets import read_secret
from imaged.core.errors import (
    BlobExists,
    BlobMissing,
    StoreError,
    StoreFull,
    WriteDiscarded,
)
from imaged.core.limits import GIB, MIB
from imaged.core.secret import Secret
from imaged.stores.s3.errors import ConditionalWritesUnsupported, S3Errors, is_retryable
from imaged.stores.s3.settings import S3Settings
from support.settings import configured

SETTINGS = configured(S3Settings, bucket="images", endpoint="https://s3.example.net")
KEY = "0a/0a3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001"
MADE_UP = "made-up-key-material"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"bucket": ""}, "bucket"),
        ({"access_key": Secret("a")}, "both keys or neither"),
        ({"secret_key": Secret("a")}, "both keys or neither"),
        ({"endpoint": "s3.example.net"}, "URL"),
        ({"endpoint": "ftp://s3.example.net"}, "URL"),
        ({"endpoint": "https://"}, "URL"),
        ({"endpoint": f"https://user:{MADE_UP}@s3.example.net"}, "credentials"),
        ({"endpoint": f"https://s3.example.net/?key={MADE_UP}"}, "must end with"),
        ({"part_size_bytes": 5 * MIB - 1}, "5 MiB and 5 GiB"),
        ({"part_size_bytes": 5 * GIB + 1}, "5 MiB and 5 GiB"),
        ({"parts_in_flight": 0}, "parts_in_flight"),
        ({"attempts": 0}, "attempts"),
        ({"connect_timeout": timedelta(0)}, "connect_timeout"),
        ({"read_timeout": timedelta(0)}, "read_timeout"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], why: str) -> None:
    """With a sentence that repeats no value."""
    with pytest.raises(ValueError, match=why) as refused:
        configured(S3Settings, **{"bucket": "images", **wrong})

    assert MADE_UP not in str(refused.value)


@pytest.mark.parametrize(
    ("prefix", "root"), [("", ""), ("/", ""), ("a", "a/"), ("a/b/", "a/b/"), ("/a", "a/")]
)
def test_a_prefix_is_a_folder(prefix: str, root: str) -> None:
    """With or without slashes around it."""
    assert configured(S3Settings, bucket="images", prefix=prefix).root == root


def test_secrets_are_hidden_unless_asked_for() -> None:
    """Neither in its text form, nor in that of its container, nor in a pickle."""
    secret = Secret(MADE_UP)
    settings = configured(S3Settings, bucket="images", access_key=secret, secret_key=secret)

    assert secret.reveal() == MADE_UP
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>9}", repr(settings)):
        assert MADE_UP not in shown
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="not written anywhere"):
        copy.deepcopy(secret)
    assert not hasattr(secret, "__dict__")


def test_secrets_can_be_compared() -> None:
    """So that a reload knows whether they have changed."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a")
    assert not Secret("")


@pytest.mark.parametrize("text", ["key", "key\n", "  key \r\n", "key\nand a remark\n"])
def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path, text: str) -> None:
    """Whatever the line ends and white space of the file."""
    (tmp_path / "key").write_text(text)

    assert read_secret(tmp_path / "key") == Secret("key")


def test_a_file_without_a_secret(tmp_path: Path) -> None:
    """An empty file is an error, and so is a missing one."""
    (tmp_path / "empty").write_text("\nkey\n")

    with pytest.raises(ValueError, match="is empty"):
        read_secret(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        read_secret(tmp_path / "missing")


def answered(code: str, status: int = 400) -> ClientError:
    """An error of the store, with a text that should not be shown."""
    answer: Any = {
        "Error": {"Code": code, "Message": MADE_UP},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "SomeCall")


@pytest.mark.parametrize(
    ("operation", "error", "kind", "text"),
    [
        # servers differ in what they call a gone upload, a missing object and a page
        ("upload_part", answered("NoSuchUpload", 404), WriteDiscarded, KEY),
        ("list_parts", answered("NoSuchUpload"), WriteDiscarded, KEY),
        ("list_parts", answered("NoSuchKey"), WriteDiscarded, KEY),  # Ceph RGW 16.2
        ("abort_multipart_upload", answered("NoSuchKey"), WriteDiscarded, KEY),  # Swift 2.38
        ("complete_multipart_upload", answered("NoSuchKey"), WriteDiscarded, KEY),
        ("upload_part_copy", answered("NoSuchKey"), BlobMissing, KEY),
        ("get_object", answered("NoSuchKey", 404), BlobMissing, KEY),
        ("head_object", answered("404", 404), BlobMissing, KEY),
        ("list_parts", answered("404"), StoreError, "404"),
        ("delete_object", answered("404"), StoreError, "404"),
        ("get_object", answered("404"), StoreError, "404"),
        ("put_object", answered("QuotaExceeded", 403), StoreFull, "QuotaExceeded"),
        ("put_object", answered("XMinioStorageFull", 507), StoreFull, "no room"),
        ("put_object", answered("EntityTooLarge"), StoreFull, "no room"),
        ("put_object", answered("NoSuchBucket", 404), StoreError, "create the bucket"),
        ("get_object", answered("NoSuchBucket", 404), StoreError, "create the bucket"),
        ("put_object", answered("AccessDenied", 403), StoreError, "s3:PutObject"),
        ("list_parts", answered("AccessDenied"), StoreError, "s3:ListMultipartUploadParts"),
        ("head_bucket", answered("403", 403), StoreError, "s3:ListBucket"),
        ("put_object", answered("InvalidAccessKeyId", 403), StoreError, "access key is not known"),
        ("put_object", answered("SignatureDoesNotMatch", 403), StoreError, "secret key is wrong"),
        ("put_object", answered("ExpiredToken"), StoreError, "have expired"),
        ("put_object", answered("RequestTimeTooSkewed", 403), StoreError, "clock"),
        ("put_object", answered("PermanentRedirect", 301), StoreError, "region and endpoint"),
        ("put_object", answered("SlowDown", 503), StoreError, "overloaded"),
        ("get_object", answered("PreconditionFailed", 412), StoreError, "another object"),
        ("put_object", answered("SomethingNew"), StoreError, "answered SomethingNew"),
        ("put_object", NoCredentialsError(), StoreError, "no credentials"),
        ("put_object", SSLError(endpoint_url=MADE_UP, error=OSError()), StoreError, "ca_file"),
        ("put_object", TimeoutError(), StoreError, "in time"),
        ("put_object", ReadTimeoutError(endpoint_url=MADE_UP), StoreError, "in time"),
        ("put_object", ConnectTimeoutError(endpoint_url=MADE_UP), StoreError, "in time"),
        ("put_object", EndpointConnectionError(endpoint_url=MADE_UP), StoreError, "cannot reach"),
        ("put_object", ConnectionResetError(MADE_UP), StoreError, "cannot reach"),
        ("put_object", aiohttp.ClientPayloadError(MADE_UP), StoreError, "lost the connection"),
        ("put_object", ResponseParserError(MADE_UP), StoreError, "not S3's"),
    ],
)
def test_errors_say_what_to_do(
    operation: str, error: Exception, kind: type[StoreError], text: str
) -> None:
    """Of the right kind, about the right store, and in imaged's own words only."""
    told = S3Errors("cloud", SETTINGS).translate(operation, KEY, error)

    assert type(told) is kind
    assert "'cloud'" in str(told)
    assert text in str(told)
    assert MADE_UP not in str(told)
    assert not str(told).endswith("..")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("PreconditionFailed", BlobExists),
        ("412", BlobExists),
        ("NotImplemented", ConditionalWritesUnsupported),
    ],
)
def test_errors_of_conditions(code: str, kind: type[StoreError]) -> None:
    """They only mean something if there was a condition."""
    errors = S3Errors("cloud", SETTINGS)

    with_one = errors.translate("put_object", KEY, answered(code), on_condition=True)
    without = errors.translate("put_object", KEY, answered(code))

    assert type(with_one) is kind
    assert type(without) is StoreError


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (answered("SlowDown", 503), True),
        (answered("InternalError", 500), True),
        (answered("InternalError", 200), True),
        (answered("503", 503), True),
        (answered("RequestTimeout", 400), True),
        (answered("BadDigest", 400), True),
        (answered("AccessDenied", 403), False),
        (answered("NoSuchUpload", 404), False),
        (answered("PreconditionFailed", 412), False),
        (answered("NotImplemented", 501), False),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (EndpointConnectionError(endpoint_url="x"), True),
        (ReadTimeoutError(endpoint_url="x"), True),
        (aiohttp.ClientPayloadError(), True),
        (ResponseParserError(), True),
        (SSLError(endpoint_url="x", error=OSError()), False),
        (NoCredentialsError(), False),
    ],
)
def test_what_may_pass(error: Exception, may: bool) -> None:
    """These are retried, and nothing else is."""
    assert is_retryable(error) is may
