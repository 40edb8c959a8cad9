"""Root, who follows pages on a booted machine, in one shell for each page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from support.booted import HOME, SOURCE, Machine
from support.page_claims import typed_in
from support.page_examples import ROOT, Block, Step
from support.page_settings import Settings, settings
from support.root_image import WHEELS

STEPS = "/srv/steps"
CLONE = f"{HOME}/imaged"
TIMEOUT_SECONDS = 300

#: Exit codes that are answers, by the beginning of the command; else only 0 is one.
ANSWERS = {
    "systemctl status": (0, 3),  # 3: it does not run
    "imaged doctor": (0, 1),  # 1: warnings, such as of a clock that is the host's
}
#: What the page shows below these is typed, not shown.
EDIT = "systemctl edit "
EDITOR = '#!/bin/sh\nfor file; do :; done\nexec cat /srv/edited > "$file"\n'

#: A clone of what the tests are of, and packages without a network.
PREPARE = f"""
set -e
export HOME={HOME} LANG=C.UTF-8 PIP_NO_INDEX=1 PIP_FIND_LINKS={WHEELS}
if ! [ -d {CLONE} ]; then
  mkdir -p {HOME} /srv/upstream
  cp -r {SOURCE}/{{README.md,LICENSE,Makefile,pyproject.toml,constraints.txt}} /srv/upstream
  cp -r {SOURCE}/{{config,docs,monitoring,src,systemd}} /srv/upstream
  git -C /srv/upstream init -q
  git -C /srv/upstream add .
  git -C /srv/upstream -c user.name=test -c user.email=test@example.net commit -qm all
  git clone -q /srv/upstream {CLONE}
fi
grep -q "$HOSTNAME" /etc/hosts || echo "127.0.0.1 $HOSTNAME localhost" >> /etc/hosts
cd {CLONE}
set +e
"""


@dataclass(frozen=True)
class Differences:
    """What is different on a machine of the tests."""

    before: Sequence[str] = ()  # typed before the page
    meant: Mapping[str, str] = field(default_factory=dict)  # typed instead
    typed: Mapping[str, str] = field(default_factory=dict)  # answers, by a part of what asks
    as_shown: bool = True  # whether the output is compared


@dataclass(frozen=True)
class Typed:
    """A command as it is typed."""

    step: Step
    command: str
    stdin: str

    @property
    def codes(self) -> tuple[int, ...]:
        """The exit codes with which it may end."""
        return next(
            (codes for said, codes in ANSWERS.items() if self.command.startswith(said)), (0,)
        )


def follow(machine: Machine, test: str, page: str, there: Differences | None = None) -> None:
    """Write the settings of a page and type the blocks that a test types; all succeed, and show
    what the page shows. Raises AssertionError.
    """
    there = there or Differences()
    steps = [*_steps(test, page, there)]
    _require_said(page, there)
    machine.run("rm", "-rf", STEPS)
    machine.write("/srv/editor", EDITOR, 0o755)
    for number, one in enumerate(steps):
        machine.write(f"{STEPS}/{number}", f"{one.command}\n")
        machine.write(f"{STEPS}/{number}.typed", one.stdin)

    done = machine.attempt("bash", "-c", _script(steps), timeout_seconds=TIMEOUT_SECONDS)

    assert machine.path(f"{STEPS}/0.code").exists(), done.stderr
    for number, one in enumerate(steps):
        where = f"{page}: {one.step.command}"
        shown = machine.path(f"{STEPS}/{number}.shown").read_text(errors="replace")
        code = int(machine.path(f"{STEPS}/{number}.code").read_text())
        assert code in one.codes, f"{where}\nended with {code}, and showed\n{shown}"
        assert not there.as_shown or not one.step.shown or one.step.is_shown_by(shown), (
            f"{where}\nsays\n{one.step.shown}\nand shows\n{shown}"
        )


def _require_said(page: str, there: Differences) -> None:
    """What is typed instead of something stands for something that the page says."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for said in (*there.meant, *there.typed):
        assert said in text, f"{page} does not say {said}"


def _steps(test: str, page: str, there: Differences) -> Iterator[Typed]:
    """The commands of a page in order, and its settings as commands that write them."""
    for command in there.before:
        yield Typed(Step(f"# {command}", ""), command, "")
    parts: list[Settings | Block] = [*settings(ROOT / page), *typed_in(test, page)]
    for part in sorted(parts, key=lambda part: part.line):
        if isinstance(part, Settings):
            yield Typed(Step(f"# {part.path}", ""), f"cat > {part.path}", _meant(part.text, there))
        else:
            yield from (_typed(step, there) for step in part.steps)


def _typed(step: Step, there: Differences) -> Typed:
    command = step.command[2:]
    if command.startswith(EDIT):
        return Typed(Step(step.command, ""), _edit(command), step.shown)
    for said, text in there.typed.items():
        if said in command:  # what is typed is shown too, sooner or later
            return Typed(Step(step.command, ""), _meant(command, there), text)
    return Typed(step, _meant(command, there), "")


def _edit(command: str) -> str:
    return f"cat > /srv/edited\nSYSTEMD_EDITOR=/srv/editor {on_terminal(command)}"


def on_terminal(command: str) -> str:
    """The same command, for those that ask only on a terminal."""
    return f"script -qec '{command}' /dev/null"


def _meant(text: str, there: Differences) -> str:
    for said, meant in there.meant.items():
        text = text.replace(said, meant)
    return text


def _script(steps: Sequence[Typed]) -> str:
    """Each step in this shell, until one fails."""
    lines = [PREPARE]
    for number, one in enumerate(steps):
        file, right = f"{STEPS}/{number}", " | ".join(map(str, one.codes))
        lines += [
            f". {file} < {file}.typed > {file}.shown 2>&1",
            f"code=$?; echo $code > {file}.code",
            f"case $code in {right}) ;; *) exit ;; esac",
        ]
    return "\n".join(lines)
