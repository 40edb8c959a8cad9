"""Test doubles of the ports: a catalog and a store in memory, and a manual clock.

Nothing else in ``imaged`` imports them (import-linter).
"""
