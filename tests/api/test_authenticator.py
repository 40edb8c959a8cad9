"""Callers: the administrator, holders of tokens, and anonymous ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.datastructures import Headers

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.authenticator import ADMIN, NoAuth, TokenFile, TokenFileInvalid, token_hash
from imaged.api.http_errors import CrossSiteRefused, HostRefused, Unauthenticated
from imaged.core.access import Caller
from support.service import Service

TOKEN = "a made-up token"
ENTRY = f"""[[token]]
sha256 = "{token_hash(TOKEN)}"
user = "alice"
project = "web"
roles = ["member", "reader"]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one token."""
    path = tmp_path / "tokens.toml"
    path.write_text(ENTRY)
    return path


def write(path: Path, text: str) -> None:
    """Replace the file."""
    path.write_bytes(text.encode("latin-1"))


def shows(token: str) -> Headers:
    """A request with this token."""
    return Headers({"X-Auth-Token": token})


@pytest.mark.asyncio
async def test_without_authentication_everybody_is_the_administrator() -> None:
    """Nothing is asked."""
    assert (
        await NoAuth(AllowedHosts()).authenticate(
            Headers({"host": "localhost"}), "GET", "/v2/images"
        )
        == ADMIN
    )
    assert ADMIN.is_admin


@pytest.mark.asyncio
async def test_without_authentication_no_page_of_the_web_is_heard() -> None:
    """Its browser can connect as well as the administrator can."""
    for headers, refusal in (
        ({"host": "rebound.example"}, HostRefused),
        ({"host": "localhost", "origin": "https://page.example"}, CrossSiteRefused),
    ):
        with pytest.raises(refusal):
            await NoAuth(AllowedHosts()).authenticate(Headers(headers), "GET", "/v2/images")


@pytest.mark.asyncio
async def test_holder_of_a_token_is_known(path: Path) -> None:
    """A token stands for user, project and roles."""
    caller = await TokenFile(path).authenticate(shows(TOKEN), "GET", "/v2/images")
    assert caller == Caller("alice", "web", frozenset({"member", "reader"}))


@pytest.mark.asyncio
@pytest.mark.parametrize("token", ["", "wrong", TOKEN + " ", token_hash(TOKEN)])
async def test_others_are_not_known(path: Path, token: str) -> None:
    """Any other token, and the hash itself, open nothing."""
    with pytest.raises(Unauthenticated):
        await TokenFile(path).authenticate(shows(token), "GET", "/v2/images")
    with pytest.raises(Unauthenticated):
        await TokenFile(path).authenticate(Headers({}), "GET", "/v2/images")


@pytest.mark.asyncio
async def test_the_hash_of_nothing_authenticates_no_caller(path: Path) -> None:
    """An entry made of an empty token by mistake does not open the door to all."""
    write(path, ENTRY.replace(token_hash(TOKEN), token_hash("")))
    with pytest.raises(Unauthenticated):
        await TokenFile(path).authenticate(shows(""), "GET", "/v2/images")


@pytest.mark.asyncio
async def test_hash_may_be_in_capitals(path: Path) -> None:
    """Hexadecimal is hexadecimal."""
    write(path, ENTRY.replace(token_hash(TOKEN), token_hash(TOKEN).upper()))
    assert (await TokenFile(path).authenticate(shows(TOKEN), "GET", "/v2/images")).user == "alice"


BAD_FILES = [
    ("[[token", "cannot be read"),
    ("\xff", "cannot be read"),
    ("x = 1", "[[token]]"),
    ("token = 5", "[[token]]"),
    ("token = [5]", "entry 1"),
    (ENTRY + ENTRY, "entry 2: 'sha256'"),
    (ENTRY + "[[token]]\n", "entry 2"),
    (ENTRY.replace('user = "alice"\n', ""), "user"),
    (ENTRY.replace('"alice"', "5"), "user"),
    (ENTRY.replace('"alice"', '""'), "user"),
    (ENTRY.replace('"alice"', '"a\\u0000"'), "user"),
    (ENTRY.replace('"web"', '"' + "p" * 256 + '"'), "project"),
    (ENTRY.replace('["member", "reader"]', "[]"), "roles"),
    (ENTRY.replace('["member", "reader"]', '"member"'), "roles"),
    (ENTRY.replace("roles", "role"), "role"),
    (ENTRY.replace(token_hash(TOKEN), "abc"), "sha256"),
    (ENTRY.replace(token_hash(TOKEN), TOKEN), "sha256"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("text", "words"), BAD_FILES)
async def test_bad_file_is_refused_and_the_old_one_holds(path: Path, text: str, words: str) -> None:
    """The sentence names file, entry and field, and never shows what may be a secret."""
    tokens = TokenFile(path)
    write(path, text)
    with pytest.raises(TokenFileInvalid) as refusal:
        tokens.reload()
    assert str(path) in str(refusal.value)
    assert words in str(refusal.value)
    assert TOKEN not in str(refusal.value)
    assert (await tokens.authenticate(shows(TOKEN), "GET", "/v2/images")).user == "alice"


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is said so, by its name."""
    with pytest.raises(TokenFileInvalid, match=r"missing\.toml"):
        TokenFile(tmp_path / "missing.toml")


@pytest.mark.asyncio
async def test_a_reload_changes_the_known_tokens(path: Path, tmp_path: Path) -> None:
    """After a reload, tokens that left are worth nothing; the file may be another one."""
    tokens = TokenFile(path)
    other = tmp_path / "others.toml"
    write(other, ENTRY.replace(token_hash(TOKEN), token_hash("another")))
    tokens.reload(other)
    assert tokens.path == other
    assert (await tokens.authenticate(shows("another"), "GET", "/v2/images")).user == "alice"
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(shows(TOKEN), "GET", "/v2/images")


@pytest.mark.asyncio
async def test_strangers_learn_nothing(service: Service) -> None:
    """Without a token every path of the API answers alike, whether it is there or not."""
    image_id = await service.create()
    asked = [
        ("GET", "/v2/images"),
        ("GET", f"/v2/images/{image_id}"),
        ("PUT", f"/v2/images/{image_id}/file"),
        ("HEAD", "/v2/images"),
        ("GET", "/v2/nope"),
        ("GET", "/v2.1/images/"),
    ]
    replies = [await service.call(*request, caller=None) for request in asked]
    texts = {"" if method == "HEAD" else replies[0].text for method, _ in asked}
    assert {(reply.status, reply.text) for reply in replies} == {(401, text) for text in texts}
