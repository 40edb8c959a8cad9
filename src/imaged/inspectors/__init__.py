"""Inspectors: drivers of ``ports/disk_image.py``, which recognise disk formats."""
