"""What a process does once for itself: systemd's notifications, priority, memory allocator."""
