"""Fetchers: drivers of ``ports/fetcher.py``, which download from other servers."""
