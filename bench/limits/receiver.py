"""The limit for uploads: receive, md5, sha512, write, fsync, and nothing else.

    python -m bench.limits.receiver FOLDER PORT

One upload after the other, which is quicker than several at once. Buffers are used again, so that
no page is touched for the first time twice; one thread receives, one has md5, one has sha512 and
the file, and one flushes on the way, so that the last fsync is short.
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
REQUEST_LOCK = threading.Lock()

JSON_BODY = b"Content-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"id": "image"}'
CREATE_RESPONSE = b"HTTP/1.1 201 Created\r\nConnection: close\r\n" + JSON_BODY
SHOW_RESPONSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + JSON_BODY
NO_CONTENT_RESPONSE = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"

Blocks = SimpleQueue["memoryview | None"]


def serve(folder: Path, port: int) -> None:
    """Accept requests until killed."""
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection, folder), daemon=True).start()


def answer(connection: socket.socket, folder: Path) -> None:
    """Take one request."""
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = connection.recv(4096)
            if not chunk:
                return
            head += chunk
        head, _, rest = head.partition(b"\r\n\r\n")
        match head.split(b" ", 1)[0]:
            case b"PUT":
                found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                with REQUEST_LOCK:
                    receive(connection, rest, int(found[1]) if found else 0, folder / "upload")
                connection.sendall(NO_CONTENT_RESPONSE)
            case b"POST":
                connection.sendall(CREATE_RESPONSE)
            case b"GET":
                connection.sendall(SHOW_RESPONSE)
            case _:
                connection.sendall(NO_CONTENT_RESPONSE)


def receive(connection: socket.socket, rest: bytes, left: int, path: Path) -> None:
    """Take a body, and return when its bytes are durable."""
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
    serve(Path(sys.argv[1]), int(sys.argv[2]))
