"""Has every Python hang on a frozen folder: put this folder into PYTHONPATH, before tests/."""

from __future__ import annotations

import support.frozen_disk  # noqa: F401 - it does all when it is imported
