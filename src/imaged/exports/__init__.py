"""Places that files are exported to: drivers of ``ports/export.py``."""
