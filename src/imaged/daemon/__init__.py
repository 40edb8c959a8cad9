"""Where everything meets: drivers, services and the app, in one process and one task group."""

from __future__ import annotations
