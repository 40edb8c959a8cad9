"""The command line: ``imaged serve``, and what operators do beside it."""
