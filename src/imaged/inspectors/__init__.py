"""Inspectors: drivers of ``ports/inspector.py``, which recognise disk formats."""
