"""What makes the pages of the reference from the code: a module for each."""
