"""Composition root: builds drivers, services and the web app, and runs them in one task group."""

from __future__ import annotations
