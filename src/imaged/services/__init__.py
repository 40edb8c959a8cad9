"""The operations of the daemon: sequences of awaits around the decisions of ``core``."""
