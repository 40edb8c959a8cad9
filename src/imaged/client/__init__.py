"""A client of the Image API v2, for ``imaged push`` and ``imaged pull``."""
