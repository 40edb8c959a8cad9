"""Process-wide services: systemd notifications, CPU priority, memory allocator, uptime."""
