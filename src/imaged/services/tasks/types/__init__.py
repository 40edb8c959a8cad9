"""The types of tasks: import, export, clone, convert and verify."""
