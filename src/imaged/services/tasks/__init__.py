"""Long work that outlives the worker doing it: one module for each type of task."""
