"""What a daemon tells of itself in numbers, by a socket of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families


def metrics_settings(folder: Path) -> dict[str, Any]:
    """The section ``[metrics]`` of a daemon whose figures are read."""
    return {"bind": [f"unix:{_socket(folder)}"]}


async def figures(folder: Path) -> dict[str, float]:
    """All of them, by name and values of labels: ``name/value/value``."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(_socket(folder)))) as session,
        session.get("http://localhost/metrics", headers={"Accept": "text/plain"}) as answer,
    ):
        text = await answer.text()
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _socket(folder: Path) -> Path:
    return folder / "metrics.sock"
