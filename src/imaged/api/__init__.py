"""The OpenStack Image API v2 over HTTP."""
