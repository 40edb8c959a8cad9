"""The numbers of system calls that the filter has, against those of libseccomp."""

from __future__ import annotations

import ctypes

import pytest

from imaged.conversion.seccomp import ARCHITECTURES, CALLS, conditions

pytestmark = pytest.mark.system


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_every_number_is_that_of_its_name(machine: str) -> None:
    """Also on machines that these tests do not run on; negative: there is no such call."""
    library = ctypes.CDLL("libseccomp.so.2")
    column = list(ARCHITECTURES).index(machine)
    numbers = {**CALLS} | {name: both for name, (both, _) in conditions(1).items()}
    architecture = ctypes.c_uint32(ARCHITECTURES[machine])

    for name, both in numbers.items():
        found = library.seccomp_syscall_resolve_name_arch(architecture, name.encode())
        assert (found if found >= 0 else None) == both[column], name
