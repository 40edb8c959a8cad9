"""Doubles of the ports for tests: a catalog and a store in memory, a clock that tests set.

Nothing else in ``imaged`` imports them (import-linter).
"""
