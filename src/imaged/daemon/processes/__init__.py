"""The processes of one instance: the daemon, those that answer, the one that works on tasks."""
