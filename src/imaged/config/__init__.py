"""What operators decide: TOML, drop-ins and environment, made into one frozen Config."""

from __future__ import annotations

from imaged.config.model import Config
from imaged.config.problems import ConfigInvalid, Problem
from imaged.config.reading import DEFAULT_FILE, load

__all__ = ["DEFAULT_FILE", "Config", "ConfigInvalid", "Problem", "load"]
