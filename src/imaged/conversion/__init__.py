"""What turns one disk format into another: qemu-img, confined."""
