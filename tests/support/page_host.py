"""A host for pages that need root: imaged is installed and runs, the rest of a machine is played.

What the pages tell to write into ``/etc/imaged/conf.d`` is written. ``sudo``, ``chown`` and
``systemctl`` are small scripts; whatever needs more than that is for a booted machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from support.imaged_process import IMAGED
from support.page_claims import typed_in
from support.page_examples import ROOT, Block
from support.page_runner import PageRunner
from support.page_settings import Settings, settings

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
          reload)  # and wait until its log tells how it went, for 5 s at most
            before=$(grep -c 'config.re[lj]' {etc}/log)
            kill -HUP "$(cat {etc}/pid)"
            for _ in $(seq 100); do
              [ "$(grep -c 'config.re[lj]' {etc}/log)" -gt "$before" ] && break
              sleep 0.05
            done ;;
          start) {imaged} serve --config {etc}/imaged.toml 2>> {etc}/log & echo $! > {etc}/pid ;;
          restart)
            kill "$(cat {etc}/pid)"
            while kill -0 "$(cat {etc}/pid)" 2> /dev/null; do sleep 0.05; done
            "$0" start ;;
          *) exit 64 ;;
        esac""",
}


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

    def follow_page(self, test: str, page: str) -> None:
        """Write its files and type the blocks that a test types."""
        steps: list[Settings | Block] = [*settings(ROOT / page), *typed_in(test, page)]
        for step in sorted(steps, key=lambda step: step.line):
            if isinstance(step, Settings):
                path, text = step.path, step.text
                for said, meant in self.replacements.items():
                    path, text = path.replace(said, meant), text.replace(said, meant)
                Path(path).write_text(text)
            else:
                self.follow(step)
                if any("systemctl" in one.command for one in step.steps):
                    self.wait_ready()
