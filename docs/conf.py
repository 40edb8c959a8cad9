"""Sphinx settings for the HTML pages (``make docs``)."""

from __future__ import annotations

from importlib import metadata

project = "imaged"
release = metadata.version("imaged")
copyright = "the authors of imaged"  # noqa: A001 - Sphinx's name

extensions = ["myst_parser"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
nitpicky = True
exclude_patterns = ["_build", "references"]

html_theme = "furo"
html_title = f"imaged {release}"
html_copy_source = False
html_show_sphinx = False
