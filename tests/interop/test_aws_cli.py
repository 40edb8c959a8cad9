"""What the page on S3 tells people to type into Amazon's client."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from support.daemon import clean_environment
from support.page_claims import typed_in
from support.page_examples import ROOT
from support.virtualenvs import environment

PAGE = "docs/how-to/use-s3.md"
PACKAGE = "awscli==1.46.3"

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


def test_the_rule_of_the_page_is_accepted(tmp_path: Path) -> None:
    """The bucket has it afterwards."""
    (block,) = typed_in("tests/interop/test_aws_cli.py", PAGE)
    (command,) = (step.command.removeprefix("$ ") for step in block.steps)
    rule = re.search(r"`rule.json`:\n\n```json\n(.*?)```", (ROOT / PAGE).read_text(), re.DOTALL)
    assert rule is not None
    (tmp_path / "rule.json").write_text(rule[1])
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()

        def aws(command: str) -> str:
            return subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path, check=True, capture_output=True, encoding="utf-8",
                env=clean_environment() | {
                    "PATH": f"{environment(PACKAGE, PACKAGE)}:/usr/bin:/bin",
                    "HOME": str(tmp_path),
                    "AWS_ACCESS_KEY_ID": "made-up",
                    "AWS_SECRET_ACCESS_KEY": "made-up",
                    "AWS_DEFAULT_REGION": "us-east-1",
                    "AWS_ENDPOINT_URL": f"http://{host}:{port}",
                },
            ).stdout  # fmt: skip

        aws("aws s3api create-bucket --bucket images")
        aws(command)

        assert "unfinished uploads" in aws(
            "aws s3api get-bucket-lifecycle-configuration --bucket images"
        )
    finally:
        server.stop()
