"""The rules for images, independent of database and network.

No I/O, no clock, no await, no log.
"""
