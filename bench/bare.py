"""The limit to measure against: receive, md5, sha512, write, fsync, and nothing else.

    python bench/bare.py FOLDER

Prints its port, then serves one upload after the other: an HTTP request whose head is read just so
far that its Content-Length is known. Buffers are used again, so that no page is touched for the
first time twice; one thread receives, one has md5, one has sha512 and the file, and one flushes on
the way, so that the last fsync is short.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

BLOCK_BYTES = 1 << 20
FLUSH_EVERY_BYTES = 32 * BLOCK_BYTES
BUFFERS = [bytearray(BLOCK_BYTES) for _ in range(4)]  # few: they stay in the cache

Blocks = SimpleQueue["memoryview | None"]


def serve(folder: Path) -> None:
    """Accept uploads until killed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                receive(connection, folder / "upload")


def receive(connection: socket.socket, path: Path) -> None:
    """Take one request, and answer when its bytes are durable."""
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = connection.recv(4096)
        if not chunk:
            return
        head += chunk
    head, _, rest = head.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    left = int(found[1]) if found else 0
    free, to_md5, to_file = Blocks(), Blocks(), Blocks()
    for buffer in BUFFERS:
        free.put(memoryview(buffer))
    threads = [
        threading.Thread(target=hash_md5, args=(to_md5, to_file)),
        threading.Thread(target=hash_and_write, args=(to_file, free, path)),
    ]
    for thread in threads:
        thread.start()
    while left:
        block = (free.get() or memoryview(b""))[: min(BLOCK_BYTES, left)]
        block[: len(rest)] = rest
        filled, rest = len(rest), b""
        while filled < len(block):
            filled += connection.recv_into(block[filled:])
        left -= len(block)
        to_md5.put(block)
    to_md5.put(None)
    for thread in threads:
        thread.join()
    path.unlink()
    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


def hash_md5(blocks: Blocks, done: Blocks) -> None:
    """The first lane."""
    digest = hashlib.md5(usedforsecurity=False)
    while (block := blocks.get()) is not None:
        digest.update(block)
        done.put(block)
    done.put(None)


def hash_and_write(blocks: Blocks, done: Blocks, path: Path) -> None:
    """The second lane."""
    digest, written = hashlib.sha512(), 0
    with path.open("wb", buffering=0) as file:
        flushes: SimpleQueue[int | None] = SimpleQueue()
        flushing = threading.Thread(target=flush, args=(flushes, file.fileno()))
        flushing.start()
        while (block := blocks.get()) is not None:
            digest.update(block)
            written += file.write(block)
            if written % FLUSH_EVERY_BYTES == 0:
                flushes.put(written)
            done.put(memoryview(block.obj))
        flushes.put(None)
        flushing.join()
        os.fsync(file.fileno())


def flush(flushes: SimpleQueue[int | None], descriptor: int) -> None:
    """Leave little for the last fsync."""
    while flushes.get() is not None:
        os.fdatasync(descriptor)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
