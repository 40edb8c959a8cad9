"""Processes of tests do not outlive them, also where a test run is interrupted or killed."""

from __future__ import annotations

#: Put before a command: the kernel kills it when the thread that started it ends (prctl(2)).
END_WITH_PARENT = ("setpriv", "--pdeathsig=KILL")
