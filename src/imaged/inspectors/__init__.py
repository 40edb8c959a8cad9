"""Inspectors: drivers of ``ports/inspection.py``, which recognise disk formats."""
