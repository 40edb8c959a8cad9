"""What is true about images, whatever the database or the wire.

No I/O, no clock, no await, no log.
"""
