"""Settings: TOML, drop-ins and environment, read into one frozen Config."""

from __future__ import annotations

from imaged.config.loader import Sources, find_sources, load
from imaged.config.model import Config
from imaged.config.problems import ConfigInvalid, Problem

__all__ = ["Config", "ConfigInvalid", "Problem", "Sources", "find_sources", "load"]
