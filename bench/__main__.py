"""The command: the targets, the amount, and where the figures go.

python -m bench --against http://127.0.0.1:9393 --against-pid PID --against-header 'Name: value'
"""

from __future__ import annotations

import asyncio
import shlex
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import click
import uvloop
from rich.console import Console

from bench import result as results
from bench.endpoint import endpoint
from bench.measure import Measure
from bench.measures import MEASURES
from bench.programs import Program
from bench.result import FIRST, SECOND, Result
from bench.runner import run_measures
from bench.sizes import TOY, Sizes
from bench.tables import show, show_changes, write_readme
from bench.targets import BenchTarget, imaged

README = Path(__file__).with_name("README.md")
WIDTH = 170  # tables are not folded
MEASURE_NAMES = [measure.name for measure in MEASURES]


class Options(TypedDict):
    """What the command line says."""

    catalog: str
    processes: int
    against: str | None
    against_name: str
    against_pid: tuple[int, ...]
    against_header: tuple[str, ...]
    against_command: str
    against_scrub: str
    url: str | None
    pid: tuple[int, ...]
    header: tuple[str, ...]
    only: tuple[str, ...]
    toy: bool
    folder: Path | None
    json: Path | None
    read: Path | None
    compare: Path | None
    write_readme: bool


@click.command(context_settings={"max_content_width": 100})
@click.option("--against", metavar="URL", help="A second endpoint, measured in turn.")
@click.option("--against-name", default="second", help="What it is called in the table.")
@click.option("--against-pid", type=int, multiple=True, help="Its process; children count too.")
@click.option("--against-header", multiple=True, help="Sent with each request to it.")
@click.option("--against-command", default="", help="Starts it in the foreground, until SIGTERM.")
@click.option("--against-scrub", default="", help="Frees what was deleted there, once.")
@click.option("--url", metavar="URL", help="Measure this instead of an imaged that is started.")
@click.option("--pid", type=int, multiple=True, help="Its process; children count too.")
@click.option("--header", multiple=True, help="Sent with each request to it.")
@click.option("--catalog", default="", help="imaged's catalog, migrated. Default: a new SQLite.")
@click.option("--processes", default=1, show_default=True, help="That answer, of this imaged.")
@click.option(
    "--only", multiple=True, type=click.Choice(MEASURE_NAMES), help="These measures alone."
)
@click.option("--toy", is_flag=True, help="As little as shows that everything works.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the bytes go.")
@click.option(
    "--json", type=click.Path(path_type=Path), help="Write the result there, after each measure."
)
@click.option("--read", type=click.Path(path_type=Path), help="Show a result; measure nothing.")
@click.option("--compare", type=click.Path(path_type=Path), help="With an earlier result.")
@click.option("--write-readme", is_flag=True, help="Put the table into bench/README.md.")
def main(**options: Unpack[Options]) -> None:
    """Measure an Image API v2, in turn with a second one and with what this machine can do."""
    console, progress = Console(), Console(stderr=True)
    console.width = max(console.width, WIDTH)
    measures = [each for each in MEASURES if not options["only"] or each.name in options["only"]]
    if options["read"]:
        found = results.read(options["read"])
    else:
        try:
            found = uvloop.run(_measure(options, measures, progress))
        except asyncio.CancelledError:
            raise click.ClickException("Ended before everything was measured.") from None
    show(console, found, measures)
    if options["compare"]:
        show_changes(console, found, results.read(options["compare"]), measures)
    if options["write_readme"]:
        write_readme(README, found, measures)


async def _measure(options: Options, measures: Sequence[Measure], progress: Console) -> Result:
    """Raises CancelledError on SIGTERM: servers that were started are stopped."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

    def keep(found: Result) -> None:
        if options["json"]:
            results.write(options["json"], found)

    with tempfile.TemporaryDirectory(prefix="bench-", dir=options["folder"]) as made:
        folder = Path(made)
        contenders = {FIRST: _first(options, folder)}
        if options["against"]:
            contenders[SECOND] = _second(options, options["against"], folder)
        sizes = TOY if options["toy"] else Sizes()
        return await run_measures(
            contenders, measures, sizes, folder, tell=progress.print, keep=keep
        )


def _first(options: Options, folder: Path) -> BenchTarget:
    if options["url"] is None:
        return imaged(folder / "imaged", options["catalog"], processes=options["processes"])
    where = endpoint(options["url"], options["header"])
    return BenchTarget("first", where, folder, options["pid"])


def _second(options: Options, url: str, folder: Path) -> BenchTarget:
    where, command = endpoint(url, options["against_header"]), options["against_command"]
    return BenchTarget(
        options["against_name"],
        where,
        folder,
        options["against_pid"],
        Program(shlex.split(command), where, folder / "second.log") if command else None,
        shlex.split(options["against_scrub"]),
    )


if __name__ == "__main__":
    main()
