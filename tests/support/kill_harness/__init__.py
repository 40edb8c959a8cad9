"""Kills daemons and workers at chosen points, and looks at what they left."""
