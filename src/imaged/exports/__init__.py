"""Exports: drivers of ``ports/export.py``, which write files to a folder or a bucket."""
