"""Test doubles of the ports: a catalog and a store in memory.

Nothing else in ``imaged`` imports them (import-linter).
"""
