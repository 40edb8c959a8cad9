"""What the services ask of the world: what is promised, what may fail, what is undefined."""
