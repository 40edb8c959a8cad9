"""The limit to measure against: receive, md5, sha512, write, fsync, and nothing else.

    python bench/bare.py FOLDER

Prints its port, then serves one upload after the other: an HTTP request whose head is read just so
far that its Content-Length is known. Two threads, as the machine has cores to hash on: one for md5,
one for sha512 and the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
import threading
from pathlib import Path
from queue import Queue

BLOCK_BYTES = 1 << 20
DEPTH = 4


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
    size_bytes = int(found[1]) if found else 0
    to_md5: Queue[bytes | None] = Queue(DEPTH)
    to_file: Queue[bytes | None] = Queue(DEPTH)
    threads = [
        threading.Thread(target=hash_md5, args=(to_md5,)),
        threading.Thread(target=hash_and_write, args=(to_file, path)),
    ]
    for thread in threads:
        thread.start()
    for block in blocks(connection, rest, size_bytes):
        to_md5.put(block)
        to_file.put(block)
    for queue in (to_md5, to_file):
        queue.put(None)
    for thread in threads:
        thread.join()
    path.unlink()
    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


def blocks(connection: socket.socket, rest: bytes, size_bytes: int):  # type: ignore[no-untyped-def]  # noqa: ANN201 - a script
    """Whole blocks, and what remains."""
    left = size_bytes
    while left:
        block = bytearray(min(BLOCK_BYTES, left))
        view = memoryview(block)
        view[: len(rest)] = rest
        filled, rest = len(rest), b""
        while filled < len(block):
            filled += connection.recv_into(view[filled:])
        left -= len(block)
        yield block


def hash_md5(queue: Queue[bytes | None]) -> None:
    """The first lane."""
    digest = hashlib.md5(usedforsecurity=False)
    while (block := queue.get()) is not None:
        digest.update(block)


def hash_and_write(queue: Queue[bytes | None], path: Path) -> None:
    """The second lane."""
    digest = hashlib.sha512()
    with path.open("wb", buffering=0) as file:
        while (block := queue.get()) is not None:
            digest.update(block)
            file.write(block)
        os.fsync(file.fileno())


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
