"""Measures any Image API v2, in turn with a second one and with what the machine can do at most."""
