"""A host for pages that need root: imaged is installed and runs, the rest of a machine is played.

What the pages tell to write into ``/etc/imaged/conf.d`` is written. ``sudo``, ``chown`` and
``systemctl`` are small scripts; whatever needs more than that is for a booted machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Self

from support.imaged_process import IMAGED
from support.page_examples import Block, blocks
from support.page_runner import PageRunner

_FILE = re.compile(
    r"`/etc/imaged/conf\.d/(?P<name>[a-z]+\.toml)`[^`]*?\n\n *```toml\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)

_PLAYED = {
    "sudo": 'while [ "$1" = -u ]; do shift 2; done; exec "$@"',
    "chown": "exit 0",
    "imaged": """
        case "$1" in
          token)  # ann keeps hers in her home
            {imaged} "$@" 2> {etc}/told || exit; cat {etc}/told >&2
            sed 's/.*: //' {etc}/told > ~/token ;;
          tasks)
            command=$2; shift 2
            exec {imaged} tasks "$command" --config {etc}/imaged.toml "$@" ;;
          login | logout | profiles | push | pull | ls | show | set | rm) exec {imaged} "$@" ;;
          *) command=$1; shift; exec {imaged} "$command" --config {etc}/imaged.toml "$@" ;;
        esac""",
    "systemctl": """
        case "$1" in
          reload) kill -HUP "$(cat {etc}/pid)" ;;
          start) {imaged} serve --config {etc}/imaged.toml 2>> {etc}/log & echo $! > {etc}/pid ;;
          restart)
            kill "$(cat {etc}/pid)"
            while kill -0 "$(cat {etc}/pid)" 2> /dev/null; do sleep 0.05; done
            "$0" start ;;
          *) exit 64 ;;
        esac""",
}


@dataclass(frozen=True)
class Settings:
    """A file of settings that a page tells to write."""

    line: int
    name: str
    text: str


def settings(page: Path) -> Iterator[Settings]:
    """The files of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FILE.finditer(text):
        line = text.count("\n", 0, found.start("text")) + 1
        yield Settings(line, found["name"], dedent(found["text"]))


class PageHost(PageRunner):
    """Follows whole pages; imaged answers already when they begin."""

    def __post_init__(self) -> None:
        """Play the machine."""
        self._etc = self.folder / "etc"
        self.replacements = {"/etc/imaged": str(self._etc), **self.replacements}
        super().__post_init__()
        (self._etc / "conf.d").mkdir(parents=True)
        (self.folder / "images").mkdir()
        (self.folder / "scratch").mkdir()
        (self._etc / "imaged.toml").write_text(
            f"""
            [catalog]
            url = "sqlite:///{self.folder}/catalog.db"
            [stores.local]
            type = "filesystem"
            path = "{self.folder}/images"
            min_free = "0"
            [conversion]
            scratch = "{self.folder}/scratch"
            """
        )
        played = self.folder / "played"
        played.mkdir()
        for name, script in _PLAYED.items():
            file = played / name
            file.write_text(f"#!/bin/sh\n{script.format(imaged=IMAGED, etc=self._etc)}\n")
            file.chmod(0o755)
        self.environment["PATH"] = f"{played}:{self.environment['PATH']}"

    def __enter__(self) -> Self:
        super().__enter__()
        self.type("systemctl start imaged")
        self.wait_ready()
        return self

    def follow_page(self, page: Path, *, without: tuple[str, ...]) -> None:
        """Write its files and type its blocks, but those whose mark begins so."""
        steps: list[Settings | Block] = [*settings(page), *blocks(page)]
        for step in sorted(steps, key=lambda step: step.line):
            if isinstance(step, Settings):
                text = step.text
                for said, meant in self.replacements.items():
                    text = text.replace(said, meant)
                (self._etc / "conf.d" / step.name).write_text(text)
            elif not step.mark.startswith(without):
                self.follow(step)
                if any("systemctl" in one.command for one in step.steps):
                    self.wait_ready()
