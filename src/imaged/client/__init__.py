"""A client of any Image API v2: what ``imaged push`` and ``imaged pull`` do, without a terminal."""
