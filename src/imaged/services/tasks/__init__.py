"""Long work that outlives the worker running it."""
