"""What our images have to be like: an example of how imaged is extended."""
