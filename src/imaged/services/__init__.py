"""What the daemon does: sequences of awaits around the core's decisions."""
