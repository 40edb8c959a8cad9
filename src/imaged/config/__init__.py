"""Settings: TOML, drop-ins and environment, read into one frozen Config."""

from __future__ import annotations

from imaged.config.loader import load
from imaged.config.model import Config
from imaged.config.problems import ConfigInvalid, Problem
from imaged.config.sources import Sources, find_sources

__all__ = ["Config", "ConfigInvalid", "Problem", "Sources", "find_sources", "load"]
