"""The catalog in a file of SQLite."""
