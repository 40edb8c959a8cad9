"""The filter of system calls, interpreted here: its verdict for every number and argument."""

from __future__ import annotations

import fcntl
import os

import pytest

from imaged.conversion import seccomp
from imaged.conversion.qemu_img import unsupported_reason
from imaged.conversion.seccomp import ALLOW, ARCHITECTURES, CALLS, KILL, REFUSE, BpfInstruction

PID = 4711
OTHER_PID = 4712
CLONE_THREAD, CLONE_PROCESS = 0x10000 | 0x100, 0x11  # SIGCHLD, as fork(2) has it
MACHINES = list(ARCHITECTURES)


def verdict(
    lines: list[BpfInstruction], number: int, *arguments: int, architecture: int | None = None
) -> int:
    """The kernel's verdict on a call: classic BPF, as far as the filter uses it (bpf(4))."""
    data = {seccomp.NUMBER_AT: number, seccomp.ARCHITECTURE_AT: architecture}
    for place in range(6):
        value = arguments[place] if place < len(arguments) else 0
        data[seccomp.ARGUMENTS_AT + 8 * place] = value & 0xFFFFFFFF
    at, accumulator = 0, 0
    while True:
        code, if_so, if_not, value = lines[at]
        at += 1
        match code:
            case seccomp.RETURN:
                return value
            case seccomp.LOAD:
                loaded = data[value]
                assert loaded is not None
                accumulator = loaded
            case seccomp.AND:
                accumulator &= value
            case seccomp.EQUAL:
                at += if_so if accumulator == value else if_not
            case seccomp.AT_LEAST:
                at += if_so if accumulator >= value else if_not
            case seccomp.ANY_BIT:
                at += if_so if accumulator & value else if_not
            case _:
                raise AssertionError(code)


def judge(machine: str, number: int, *arguments: int) -> int:
    """The verdict on a call of the machine itself."""
    lines = seccomp.program(machine, PID)
    return verdict(lines, number, *arguments, architecture=ARCHITECTURES[machine])


def numbers(machine: str) -> dict[str, int]:
    """All calls in the list, by the numbers of a machine."""
    column = MACHINES.index(machine)
    conditional = {name: both for name, (both, _) in seccomp.conditions(PID).items()}
    every = {**CALLS, **conditional}
    return {name: number for name, both in every.items() if (number := both[column]) is not None}


@pytest.mark.parametrize("machine", MACHINES)
def test_listed_calls_are_allowed(machine: str) -> None:
    """Whatever its arguments."""
    for name, number in numbers(machine).items():
        if name in CALLS:
            assert judge(machine, number, *[0xFFFFFFFF] * 6) == ALLOW, name


@pytest.mark.parametrize("machine", MACHINES)
def test_other_calls_do_not_exist(machine: str) -> None:
    """Every number that a kernel may use, now or later."""
    known = set(numbers(machine).values())

    assert {judge(machine, n) for n in range(1024) if n not in known} == {REFUSE}


@pytest.mark.parametrize("machine", MACHINES)
def test_no_number_stands_twice(machine: str) -> None:
    """A typing error would allow another call."""
    assert len(set(numbers(machine).values())) == len(numbers(machine))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "is_allowed"),
    [
        ("clone", (CLONE_THREAD,), True),
        ("clone", (CLONE_PROCESS,), False),
        ("open", (0, os.O_RDONLY | os.O_CLOEXEC), True),
        ("open", (0, os.O_RDWR | os.O_CREAT), True),
        ("open", (0, os.O_RDONLY | os.O_TRUNC), False),
        ("openat", (0, 0, os.O_WRONLY), True),
        ("openat", (0, 0, os.O_RDONLY | os.O_TRUNC), False),
        ("openat", (0, 0, os.O_RDWR | os.O_TRUNC), False),
        ("openat", (0, 0, os.O_ACCMODE), False),
        ("fcntl", (0, fcntl.F_OFD_SETLK), True),
        ("fcntl", (0, fcntl.F_SETOWN), False),
        ("fcntl", (0, fcntl.F_SETSIG), False),
        ("fcntl", (0, 15), False),  # F_SETOWN_EX
        ("fcntl", (0, fcntl.F_NOTIFY), False),
        ("prctl", (15,), True),
        ("prctl", (1,), False),  # PR_SET_PDEATHSIG: it dies with its parent
        ("prlimit64", (0,), True),
        ("prlimit64", (PID,), True),
        ("prlimit64", (OTHER_PID,), False),
        ("tgkill", (PID,), True),
        ("tgkill", (OTHER_PID,), False),
        ("tgkill", (0xFFFFFFFF,), False),
    ],
)
def test_calls_that_depend_on_an_argument(
    machine: str, name: str, arguments: tuple[int, ...], is_allowed: bool
) -> None:
    """Allowed as far as it affects only this process."""
    number = numbers(machine).get(name)
    if number is not None:
        assert judge(machine, number, *arguments) == (ALLOW if is_allowed else REFUSE)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_same_numbers_of_another_machine(machine: str) -> None:
    """They mean something else there: the process is killed."""
    lines = seccomp.program(machine, PID)
    (other,) = set(ARCHITECTURES.values()) - {ARCHITECTURES[machine]}

    assert verdict(lines, numbers(machine)["read"], architecture=other) == KILL
    assert verdict(lines, 0x40000000, architecture=ARCHITECTURES[machine]) == KILL


def test_a_machine_that_is_not_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it, and the supported ones."""
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    monkeypatch.setattr("shutil.which", lambda _program: "/usr/bin/qemu-img")

    assert unsupported_reason() == (
        "qemu-img cannot be confined on this server's machine, riscv64, only on x86_64 and "
        "aarch64: have images converted by an instance there"
    )
