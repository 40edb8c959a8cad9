"""One record, shown to a caller with a token: of a file, and of Keystone, which was asked before.

Both daemons are started for this, and take turns. Keystone is played by a server that knows one
token: it is asked once a minute, and what is measured is everything else.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from bench.client import Client
from bench.endpoint import Endpoint
from bench.keystone import TOKEN
from bench.load_generator import run_load
from bench.measure import Figures, Measure, MeasureContext, MeasuredValue, absolute
from bench.programs import Program, reserve_port
from bench.targets import BenchTarget, imaged, new_folder, running

TURNS = 3  # of each in a round
MODULE = "bench.keystone"


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Ask both in turn, again and again."""
    seconds, waits = ground.sizes.seconds, dict[str, list[float]](token=[], keystone=[])
    async with AsyncExitStack() as stack:
        targets = {
            "token": await stack.enter_async_context(running(_with_token_file(on.folder))),
            "keystone": await stack.enter_async_context(_with_keystone(on.folder)),
        }
        images = {name: await target.new_image() for name, target in targets.items()}
        for _ in range(TURNS):
            for name, target in targets.items():

                async def show(client: Client, path: str = f"/v2/images/{images[name]}") -> None:
                    await client.get(path)

                load = await run_load(target.endpoint, show, at_once=1, seconds=seconds)
                waits[name].append(load.percentile_ms(50))
        for name, target in targets.items():
            await target.forget([images[name]])
    token, keystone = median(waits["token"]), median(waits["keystone"])
    return {"token": token, "keystone": keystone, "ratio": keystone / token}


def _with_token_file(folder: Path) -> BenchTarget:
    place = new_folder(folder, "token")
    tokens = place / "tokens.toml"
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    tokens.write_text(
        f'[[token]]\nsha256 = "{digest}"\nuser = "bench"\nproject = "bench"\nroles = ["member"]\n'
    )
    return imaged(place, auth=f'method = "token"\ntoken_file = "{tokens}"', token=TOKEN)


@asynccontextmanager
async def _with_keystone(folder: Path) -> AsyncIterator[BenchTarget]:
    place, port = new_folder(folder, "keystone"), reserve_port()
    (place / "password").write_text("made up")
    auth = (
        f'method = "keystone"\n[auth.keystone]\nurl = "http://127.0.0.1:{port}"\n'
        f'username = "imaged"\nproject = "service"\npassword_file = "{place / "password"}"'
    )
    keystone = Program(
        [sys.executable, "-m", MODULE, str(port)],
        Endpoint("127.0.0.1", port),
        place / "keystone.log",
        ready="/v3/auth/tokens",
    )
    await keystone.start()
    try:
        async with running(imaged(place, auth=auth, token=TOKEN)) as target:
            yield target
    finally:
        await keystone.stop()


FIGURES = (
    MeasuredValue("token", "show, auth.method token, p50", "ms", less_is_better=True),
    MeasuredValue("keystone", "show, auth.method keystone, p50", "ms", less_is_better=True),
    MeasuredValue("ratio", "show, keystone : token", "×", (absolute(1.1),), less_is_better=True),
)

SIGNED_IN = Measure("signed-in", FIGURES, take, suits=lambda on: on.origin is not None)
