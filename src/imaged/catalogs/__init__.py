"""Places that keep facts."""
