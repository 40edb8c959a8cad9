"""The store that keeps blobs as files in a folder."""
