"""Conversion of disk formats: qemu-img in a sandbox."""
