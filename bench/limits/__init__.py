"""What this machine can do at most: servers that do nothing but what is measured, and quickly."""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.endpoint import Endpoint
from bench.measure import LimitServer
from bench.programs import Program, reserve_port
from bench.targets import BenchTarget

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
IMAGE = "image"  # the one that they all have


def limits(folder: Path, image: Path) -> Mapping[LimitServer, BenchTarget]:
    """Those that can be had here: nginx may not be installed."""
    makers: Mapping[LimitServer, Callable[[Path, int], list[str]]] = {
        LimitServer.RECEIVER: lambda path, port: [*_module("receiver"), str(path), str(port)],
        LimitServer.ANSWERS: lambda _, port: [*_module("canned_responses"), str(port)],
        LimitServer.NGINX: lambda path, port: _nginx(path, port, image),
    }
    return {
        limit: _contender(limit, folder / limit.name.lower(), make)
        for limit, make in makers.items()
        if limit is not LimitServer.NGINX or NGINX
    }


def _contender(
    limit: LimitServer, folder: Path, command: Callable[[Path, int], list[str]]
) -> BenchTarget:
    folder.mkdir()
    endpoint = Endpoint("127.0.0.1", reserve_port())
    program = Program(command(folder, endpoint.port), endpoint, folder / "log")
    kept = defaultdict[str, str](lambda: IMAGE)
    return BenchTarget(limit.value, endpoint, folder, program=program, kept=kept)


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"bench.limits.{name}"]


def _nginx(folder: Path, port: int, image: Path) -> list[str]:
    """One process that sends the image by sendfile."""
    place = folder / "v2" / "images" / IMAGE
    place.mkdir(parents=True)
    os.link(image, place / "file")
    folder.chmod(0o755)
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
        events {{}}
        http {{
          access_log off; sendfile on; tcp_nopush on;
          server {{
            listen 127.0.0.1:{port}; root {folder};
            location = /v2/images {{ return 200 "{{}}"; }}
          }}
        }}
        """
    )
    return [str(NGINX), "-e", str(folder / "log"), "-c", str(config), "-p", str(folder)]
