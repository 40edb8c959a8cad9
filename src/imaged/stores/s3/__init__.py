"""The store that keeps blobs as objects in a bucket of an S3 service."""
