"""What fetches bytes from elsewhere."""
