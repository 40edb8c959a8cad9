"""Catalogs: drivers of ``ports/catalog.py``, which keep records of images, tasks and blobs."""
