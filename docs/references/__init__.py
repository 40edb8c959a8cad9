"""Generators of the reference pages: a module for each page."""
