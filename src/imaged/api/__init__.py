"""HTTP in, HTTP out: the OpenStack Image API v2."""
