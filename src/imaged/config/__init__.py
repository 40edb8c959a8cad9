"""Settings: TOML, drop-ins and environment, read into one frozen Config."""

from __future__ import annotations

from imaged.config.errors import ConfigInvalid, Problem
from imaged.config.loader import DEFAULT_FILE, load
from imaged.config.model import Config

__all__ = ["DEFAULT_FILE", "Config", "ConfigInvalid", "Problem", "load"]
