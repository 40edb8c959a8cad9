"""Settings: TOML, drop-ins and environment, read into one frozen Config."""

from __future__ import annotations

from imaged.config.errors import ConfigInvalid, Problem
from imaged.config.loader import load
from imaged.config.model import Config

__all__ = ["Config", "ConfigInvalid", "Problem", "load"]
