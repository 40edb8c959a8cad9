"""The HTTP server: sockets, connections, limits and framing. It knows nothing of images."""
