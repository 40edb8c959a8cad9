"""``imaged push`` and ``imaged pull`` against a real daemon, over lines that break."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imaged.core.limits import MIB
from support.client import Client
from support.daemon import Daemon, clean_environment
from support.imaged_process import IMAGED, run_imaged
from support.ports import reserve_port
from support.tcp_proxy import HttpProxy

pytestmark = pytest.mark.asyncio

DATA = random.Random(4).randbytes(3 * MIB + 17)
SHA512 = hashlib.sha512(DATA).hexdigest()
NOWHERE = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Done:
    """The outcome of a command."""

    code: int
    output: str
    errors: str

    @property
    def facts(self) -> Any:
        """What it told programs."""
        return json.loads(self.output)


async def imaged(
    folder: Path, *arguments: str, told: bytes | None = None, **environment: str
) -> Done:
    """Run a command in a folder; with a pipe to its standard input, if it is told something."""
    given = {**clean_environment(), **environment}
    if told is None:
        done = await asyncio.to_thread(run_imaged, *arguments, environment=given, folder=folder)
        return Done(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode())
    process = await asyncio.create_subprocess_exec(
        IMAGED, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=folder, env=given
    )
    output, errors = await process.communicate(told)
    return Done(process.returncode or 0, output.decode("latin-1"), errors.decode())


async def imaged_over(
    line: HttpProxy, folder: Path, *arguments: str, told: bytes | None = None
) -> Done:
    """Run a command that reaches its service by this line only."""
    async with line.running():
        return await imaged(folder, *arguments, "--url", line.url, "--json", told=told)


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon on a folder."""
    folder = tmp_path / "daemon"
    folder.mkdir()
    daemon = Daemon(folder)
    await daemon.start()
    yield daemon
    await daemon.end()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder in which commands run, with a file to push."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "disk.raw").write_bytes(DATA)
    return folder


async def keep(daemon: Daemon, name: str = "kept", data: bytes = DATA) -> str:
    """An image with data; its id."""
    async with Client(daemon.url) as client:
        image_id = await client.create(name=name)
        assert await client.put(image_id, data) == 204
        return image_id


def parts(folder: Path) -> list[Path]:
    """What unfinished pulls left."""
    return list(folder.glob("*.part"))


async def test_a_file_goes_up_and_comes_down(daemon: Daemon, here: Path) -> None:
    """The id is printed alone, the file is named like the image, and the bytes are the same."""
    pushed = await imaged(here, "push", "disk.raw", "--url", daemon.url)
    image_id = pushed.output.strip()
    (here / "disk.raw").rename(here / "source")
    pulled = await imaged(here, "pull", image_id, "--url", f"{daemon.url}/v2/")

    assert (pushed.code, pulled.code) == (0, 0), pushed.errors + pulled.errors
    assert "Taken to be raw in bare" in pushed.errors
    assert pulled.output == "disk.raw\n"
    assert (here / "disk.raw").read_bytes() == DATA
    assert not parts(here)


async def test_push_sets_attributes(daemon: Daemon, here: Path) -> None:
    """Name, formats, visibility, tags and properties; and what came of it, for programs."""
    done = await imaged(
        here, "push", "disk.raw", "--url", daemon.url, "--json", "--name", "debian",
        "--disk-format", "raw", "--container-format", "bare", "--visibility", "community",
        "--tag", "a", "--tag", "b", "-p", "os=deb=12", "--store", "local",
    )  # fmt: skip
    facts = done.facts
    async with Client(daemon.url) as client:
        record = await client.show(facts["id"])

    assert done.code == 0
    assert not done.errors
    assert {name: record[name] for name in ("name", "visibility", "tags", "os", "stores")} == {
        "name": "debian",
        "visibility": "community",
        "tags": ["a", "b"],
        "os": "deb=12",
        "stores": "local",
    }
    assert (facts["status"], facts["size_bytes"], facts["guessed"]) == ("active", len(DATA), None)
    assert (facts["verified_by"], facts["digests"]["sha512"]) == ("sha512", SHA512)


async def test_the_notice_about_the_data_is_printed(daemon: Daemon, here: Path) -> None:
    """For people on standard error, for programs as a fact; the push is no failure."""
    (here / "disk.gz").write_bytes(gzip.compress(DATA[:10_000]))
    formats = ("--disk-format", "raw", "--container-format", "bare", "--url", daemon.url)
    told = await imaged(here, "push", "disk.gz", *formats)
    facts = (await imaged(here, "push", "disk.gz", *formats, "--json")).facts
    quiet = await imaged(here, "push", "disk.gz", *formats, "--quiet")

    assert (told.code, quiet.code, quiet.errors) == (0, 0, "")
    assert "looks like a file compressed with gzip" in told.errors
    assert "Decompress it" in facts["notice"]


async def test_standard_input_and_output(daemon: Daemon, here: Path) -> None:
    """A pipe at both ends; what there is to tell goes to standard error."""
    pushed = await imaged(here, "push", "-", "--url", daemon.url, "--json", told=DATA)
    pulled = await imaged(
        here, "pull", pushed.facts["id"], "-o", "-", "--url", daemon.url, "--json"
    )

    assert pulled.output.encode("latin-1") == DATA
    assert json.loads(pulled.errors)["verified_by"] == "sha512"


async def test_a_unix_socket_is_found_in_the_configuration(daemon: Daemon, here: Path) -> None:
    """Also without --url, and with one."""
    address = f"unix:{here}/api.sock"
    await daemon.end()
    daemon.configure(api={"bind": [address, f"127.0.0.1:{daemon.port}"]})
    await daemon.start()
    pushed = await imaged(here, "push", "disk.raw", "-q", "--config", str(daemon.config))
    pulled = await imaged(here, "pull", "disk.raw", "-o", "copy", IMAGED_URL=address)

    assert (pushed.code, pulled.code) == (0, 0), pushed.errors + pulled.errors
    assert (here / "copy").read_bytes() == DATA


async def test_a_broken_upload_is_sent_again(daemon: Daemon, here: Path) -> None:
    """From the start, as often as --tries says; with a note on standard error."""
    line = HttpProxy(daemon.port, up_bytes=[MIB, 2 * MIB])
    async with line.running():
        done = await imaged(here, "push", "disk.raw", "--url", line.url)
    async with Client(daemon.url) as client:
        (image,) = await client.list_all()

    assert done.code == 0, done.errors
    assert done.output.strip() == image["id"]
    assert (image["status"], image["os_hash_value"]) == ("active", SHA512)
    assert done.errors.count("Another try follows.") == 2


async def test_push_continues_an_unfinished_image(daemon: Daemon, here: Path) -> None:
    """When all tries are over, the image waits, and the error says how to go on."""
    line = HttpProxy(daemon.port, up_bytes=[MIB, MIB])
    done = await imaged_over(line, here, "push", "disk.raw", "--tries", "2")
    image_id = done.facts["image_id"]
    again = await imaged(
        here, "push", "disk.raw", "--url", daemon.url, "--image", image_id, "-p", "a=b", "--json",
    )  # fmt: skip

    assert done.code == 1
    assert done.facts["remedy"].endswith(f"imaged push --image {image_id} disk.raw")
    assert again.code == 0, again.output
    assert (again.facts["id"], again.facts["digests"]["sha512"]) == (image_id, SHA512)


async def test_a_lost_answer_is_no_failure(daemon: Daemon, here: Path) -> None:
    """All bytes had arrived: the record says so, and nothing is sent twice."""
    line = HttpProxy(daemon.port, lost_answers=1)
    done = await imaged_over(line, here, "push", "disk.raw")

    assert done.code == 0, done.output
    assert (done.facts["tries"], done.facts["verified_by"]) == (1, "sha512")
    assert sum(head.startswith(b"PUT") for head in line.heads) == 1


async def test_a_pipe_is_not_sent_again(daemon: Daemon, here: Path) -> None:
    """Bytes read from a pipe are gone; the image waits."""
    line = HttpProxy(daemon.port, up_bytes=[MIB])
    done = await imaged_over(line, here, "push", "-", told=DATA)

    assert done.code == 1
    assert done.facts["image_id"]
    assert sum(head.startswith(b"PUT") for head in line.heads) == 1


async def test_bytes_that_change_on_their_way_up_are_noticed(daemon: Daemon, here: Path) -> None:
    """The service has another digest than the file."""
    line = HttpProxy(daemon.port, flips_up_at=2 * MIB)
    done = await imaged_over(line, here, "push", "disk.raw")

    assert done.code == 1
    assert done.facts["error"].startswith("The sha512 of the image")
    assert done.facts["remedy"].startswith("Delete the image")


async def test_pushing_the_same_data_again_succeeds(daemon: Daemon, here: Path) -> None:
    """The same data; other data is refused, and nothing is changed."""
    image_id = await keep(daemon)
    same = await imaged(
        here, "push", "disk.raw", "--image", image_id, "--url", daemon.url, "--json"
    )
    (here / "disk.raw").write_bytes(DATA[::-1])
    other = await imaged(here, "push", "disk.raw", "--image", image_id, "--url", daemon.url)

    assert (same.code, same.facts["tries"]) == (0, 0)
    assert other.code == 1
    assert "takes no data" in other.errors


async def test_refusals_are_printed_in_the_words_of_the_service(daemon: Daemon, here: Path) -> None:
    """Once: to try again would not help; with what to do."""
    (here / "disk.raw").write_bytes(b"QFI\xfb" + DATA)
    done = await imaged(
        here, "push", "disk.raw", "--url", daemon.url, "--disk-format", "iso", "--json"
    )
    missing = await imaged(here, "push", "nothing", "--url", daemon.url, "--json")
    store = await imaged(here, "push", "disk.raw", "--url", daemon.url, "--store", "far", "--json")

    assert "The service refused (415): The data is" in done.facts["error"]
    assert done.facts["image_id"] in done.facts["remedy"]
    assert missing.facts["error"] == "nothing cannot be read: No such file or directory."
    assert "There is no store named 'far'." in store.facts["error"]


async def test_the_service_knows_its_formats(daemon: Daemon, here: Path) -> None:
    """Those that its operator allows are pushed, and others refused by its sentence."""
    await daemon.end()
    daemon.configure(images={"disk_formats": ["raw", "squashfs"], "container_formats": ["crate"]})
    await daemon.start()
    (here / "disk.raw").write_bytes(DATA)
    where = ("push", "disk.raw", "--url", daemon.url, "--json")
    formats = ("--disk-format", "squashfs", "--container-format", "crate")
    done = await imaged(here, *where, *formats)
    disk = await imaged(here, *where, "--disk-format", "qcow2", "--container-format", "crate")
    container = await imaged(here, *where, "--disk-format", "raw")

    assert (done.code, disk.code, container.code) == (0, 1, 1), done.errors
    assert (done.facts["disk_format"], done.facts["container_format"]) == ("squashfs", "crate")
    assert "'disk_format' must be one of raw, squashfs" in disk.facts["error"]
    assert "'container_format' must be one of crate" in container.facts["error"]


async def test_a_body_that_is_too_large_is_refused_early(daemon: Daemon, here: Path) -> None:
    """The client reads why, although it was still sending."""
    await daemon.end()
    daemon.configure(uploads={"max_size": "1MiB"})
    await daemon.start()
    with (here / "disk.raw").open("wb") as file:
        file.truncate(200 * MIB)
    done = await imaged(here, "push", "disk.raw", "--url", daemon.url, "--json")

    assert "(413)" in done.facts["error"]


@pytest.mark.parametrize("breaks", [[700_000], [MIB, 1, 2 * MIB]])
async def test_a_broken_download_goes_on(daemon: Daemon, here: Path, breaks: list[int]) -> None:
    """By ranges, from where it was broken."""
    await keep(daemon)
    line = HttpProxy(daemon.port, down_bytes=[*breaks])
    done = await imaged_over(line, here, "pull", "kept")
    asked = [head for head in line.heads if b"/file" in head.split(b"\r\n")[0]]

    assert done.code == 0, done.output
    assert (here / "kept").read_bytes() == DATA
    assert len(asked) == len(breaks) + 1
    assert all(b"Range: bytes=" in head for head in asked[1:])


async def test_a_download_goes_on_when_it_is_called_again(daemon: Daemon, here: Path) -> None:
    """Byte for byte the same; only what was missing is asked for."""
    await keep(daemon)
    line = HttpProxy(daemon.port, down_bytes=[2 * MIB])
    broken = await imaged_over(line, here, "pull", "kept", "--tries", "1")
    (left,) = parts(here)
    held = left.stat().st_size
    assert not (here / "kept").exists()
    done = await imaged_over(line, here, "pull", "kept")

    assert broken.code == 1
    assert 0 < held < len(DATA)
    assert done.facts["resumed_at_bytes"] == held
    assert f"Range: bytes={held}-".encode() in line.heads[-1]
    assert (here / "kept").read_bytes() == DATA
    assert not parts(here)


async def test_a_part_of_other_data_is_not_continued(daemon: Daemon, here: Path) -> None:
    """The same name, and another image behind it: nothing of the part is used."""
    first = await keep(daemon)
    line = HttpProxy(daemon.port, down_bytes=[2 * MIB])
    await imaged_over(line, here, "pull", "kept", "--tries", "1")
    async with Client(daemon.url) as client:
        await client.delete(first)
    await keep(daemon, data=DATA[::-1])
    done = await imaged(here, "pull", "kept", "--url", daemon.url, "--json")

    assert done.facts["resumed_at_bytes"] == 0
    assert (here / "kept").read_bytes() == DATA[::-1]


async def test_nothing_is_overwritten_unasked(daemon: Daemon, here: Path) -> None:
    """With --force it is, at once and whole."""
    await keep(daemon, "disk.raw", b"other")
    refused = await imaged(here, "pull", "disk.raw", "--url", daemon.url, "--json")
    kept = (here / "disk.raw").read_bytes()
    forced = await imaged(here, "pull", "disk.raw", "--url", daemon.url, "--force")

    assert refused.code == 1
    assert refused.facts["error"] == "disk.raw exists already."
    assert kept == DATA
    assert forced.code == 0
    assert (here / "disk.raw").read_bytes() == b"other"


async def test_a_name_cannot_leave_the_folder(daemon: Daemon, here: Path) -> None:
    """Whatever name an image has, the file is in this folder and not hidden."""
    image_id = await keep(daemon, "../../escape", b"data")
    done = await imaged(here, "pull", image_id, "--url", daemon.url, "--json")
    path = Path(done.facts["file"])

    assert path.name == str(path)
    assert not path.name.startswith((".", "-"))
    assert (here / path).read_bytes() == b"data"


async def test_an_image_without_data_and_one_of_no_bytes(daemon: Daemon, here: Path) -> None:
    """The first cannot be pulled; the second is an empty file."""
    async with Client(daemon.url) as client:
        queued = await client.create()
    empty = await keep(daemon, "empty", b"")
    refused = await imaged(here, "pull", queued, "--url", daemon.url, "--json")
    done = await imaged(here, "pull", empty, "--url", daemon.url, "--json")

    assert "is queued and has no data" in refused.facts["error"]
    assert done.code == 0, done.output
    assert (here / "empty").read_bytes() == b""


async def test_ambiguous_and_unknown_names_are_refused(daemon: Daemon, here: Path) -> None:
    """An ambiguous name is refused with the ids; an unknown one is refused."""
    ids = {await keep(daemon, "twice", b"1"), await keep(daemon, "twice", b"2")}
    twice = await imaged(here, "pull", "twice", "--url", daemon.url, "--json")
    unknown = await imaged(here, "pull", NOWHERE, "--url", daemon.url, "--json")

    assert all(image_id in twice.facts["remedy"] for image_id in ids)
    assert unknown.facts["error"] == f"There is no image {NOWHERE}."


async def test_a_token_is_sent_and_never_printed(daemon: Daemon, here: Path) -> None:
    """From a file or the environment; without it, the error says where it belongs."""
    made = json.loads(
        (await imaged(here, "token", "--user", "ann", "--project", "web", "--json")).output
    )
    tokens, mine = here / "tokens.toml", here / "mine"
    tokens.write_text(made["entry"])
    mine.write_text(made["token"] + "\n")
    await daemon.end()
    daemon.configure(auth={"method": "token", "token_file": str(tokens)})
    await daemon.start()
    where = ("--url", daemon.url, "--json")
    without = await imaged(here, "push", "disk.raw", *where)
    by_file = await imaged(here, "push", "disk.raw", "--token-file", "mine", *where)
    by_variable = await imaged(here, "pull", "disk.raw", "--force", *where, OS_TOKEN=made["token"])
    wrong = await imaged(here, "pull", "disk.raw", *where, IMAGED_TOKEN="guessed")

    assert (by_file.code, by_variable.code) == (0, 0), by_file.output + by_variable.output
    assert without.code == wrong.code == 1
    assert "--token-file" in without.facts["remedy"]
    assert made["token"] not in daemon.log_text() + by_file.output + by_file.errors


async def test_an_unreachable_service(here: Path) -> None:
    """No server, or another kind of server: sentences, and no traceback."""
    url = f"http://127.0.0.1:{reserve_port()}"
    unreachable = await imaged(here, "push", "disk.raw", "--url", url, "--tries", "1", "--json")
    strange = await imaged(here, "pull", "x", "--url", "ftp://x", "--json")

    assert unreachable.facts["error"].endswith("cannot be reached: Connection refused.")
    assert unreachable.facts["remedy"]
    assert "ftp://x is not the address" in strange.facts["error"]


async def test_an_interrupted_push_leaves_no_traceback(daemon: Daemon, here: Path) -> None:
    """Exit code 130, as shells have it; the image's id was told before."""
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c",
        "import signal, subprocess, sys; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from imaged.cli import main; main()",
        "push", "-", "--url", daemon.url, "--disk-format", "raw", "--container-format", "bare",
        stdin=reading, stdout=PIPE, stderr=PIPE, cwd=here, env=clean_environment(),
    )  # fmt: skip
    os.close(reading)
    os.write(writing, b"x" * 65_536)
    assert process.stderr is not None
    told = await process.stderr.readline()
    process.send_signal(2)
    os.close(writing)
    errors = await process.stderr.read()

    assert told.startswith(b"The image is ")
    assert await process.wait() == 130
    assert b"Traceback" not in errors


async def test_another_file_needs_replace(daemon: Daemon, here: Path) -> None:
    """Into an image whose upload broke off; the refusal says how, in the words of a client."""
    line = HttpProxy(daemon.port, up_bytes=[MIB])
    broken = await imaged_over(line, here, "push", "disk.raw", "--tries", "1")
    (here / "other.raw").write_bytes(DATA[::-1])
    image_id = broken.facts["image_id"]
    push = ("push", "other.raw", "--image", image_id, "--url", daemon.url, "--json")
    refused = await imaged(here, *push)
    async with Client(daemon.url) as client:
        waiting = await client.show(image_id)
    done = await imaged(here, *push, "--replace")

    assert (broken.code, refused.code) == (1, 1)
    assert "X-Imaged-Replace" in refused.facts["error"]
    assert "--replace" in refused.facts["remedy"]
    assert waiting["status"] == "queued"
    assert done.code == 0, done.output
    assert done.facts["digests"]["sha512"] == hashlib.sha512(DATA[::-1]).hexdigest()
