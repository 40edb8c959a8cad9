"""The catalog in a database of PostgreSQL."""
