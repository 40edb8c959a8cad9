"""A server that answers like a Keystone which knows one token: ``python -m bench.keystone PORT``.

It is no contender: imaged asks it once a minute about a token that is used all the time.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "made-up-token-of-the-bench"  # noqa: S105 - known to nothing else


def document() -> bytes:
    """The answer about the token."""
    now = datetime.now(UTC)
    domain = {"id": "default", "name": "Default"}
    token = {
        "user": {"id": "bench", "name": "bench", "domain": domain},
        "project": {"id": "bench", "name": "bench", "domain": domain},
        "roles": [{"id": "1", "name": "member"}, {"id": "2", "name": "reader"}],
        "issued_at": now.isoformat(),
        "expires_at": (now + timedelta(hours=1)).isoformat(),
    }
    return json.dumps({"token": token}).encode()


class Handler(BaseHTTPRequestHandler):
    """Signs everyone in, and knows every token."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Validate."""
        self._answer(200)

    def do_POST(self) -> None:
        """Sign in."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201)

    def _answer(self, status: int) -> None:
        body = document()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Subject-Token", TOKEN)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
