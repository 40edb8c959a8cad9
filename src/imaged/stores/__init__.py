"""Stores: drivers of ``ports/store.py``, which keep the bytes of images."""
