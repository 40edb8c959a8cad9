"""``imaged doctor`` on a bucket: what is missing has its name."""

from __future__ import annotations

import asyncio
import json

import pytest

from support.command import Workspace
from support.fault_proxy import Fault, FaultProxy, fail, no_faults
from support.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY, SeaweedFS

pytestmark = pytest.mark.asyncio


async def findings(workspace: Workspace) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code; by subject, how bad it is and what was found last."""
    done = await asyncio.to_thread(workspace.imaged, "doctor", "--json")
    told = json.loads(done.stdout)["findings"]
    return done.returncode, {one["subject"]: (one["level"], one["what"]) for one in told}


async def test_a_right_that_is_missing_is_named(workspace: Workspace, s3: SeaweedFS) -> None:
    """Also that to abort uploads, which is missed when something went wrong, and not before."""
    for name, key in (("access", ACCESS_KEY), ("secret", SECRET_KEY)):
        path = workspace.folder / name
        path.write_text(key)
        path.chmod(0o600)
    async with FaultProxy(s3.port).running() as proxy:
        workspace.write(
            f"[stores.cloud]\ntype = 's3'\nendpoint = '{proxy.endpoint}'\nbucket = '{BUCKET}'\n"
            f"access_key_file = '{workspace.folder / 'access'}'\n"
            f"secret_key_file = '{workspace.folder / 'secret'}'\n"
        )
        proxy.plan = fail("abort_multipart_upload", 0, Fault.DENIED, for_ever=True)
        code, denied = await findings(workspace)
        proxy.plan = no_faults
        _, allowed = await findings(workspace)
        proxy.plan = fail("put_object", 3, Fault.OTHER_TAG)
        lacking_code, lacking = await findings(workspace)
        proxy.plan = fail("put_object", proxy.calls.count("put_object") + 1, Fault.OTHER_TAG)
        hints = (await asyncio.to_thread(workspace.imaged, "check-config")).stderr

    assert code == 2
    assert denied["store cloud"][0] == "problem"
    assert "s3:AbortMultipartUpload" in denied["store cloud"][1]
    assert allowed["store cloud"][1].startswith("An upload was listed and aborted")
    assert lacking_code == 1
    assert lacking["store cloud"][0] == "warning"
    assert 'set checksum = "md5"' in lacking["store cloud"][1]
    assert 'set checksum = "md5"' in hints
    assert denied[f"file {workspace.folder / 'secret'}"][0] == "ok"
