"""Pages for root, typed on a machine that was just installed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from support.booted import SOURCE, Machine
from support.disk_images import qcow2
from support.page_claims import MACHINE, pages_of
from support.page_machine import Differences, follow, on_terminal
from support.seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFS, seaweedfs

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

SERVICE = "http://127.0.0.1:9292/v2"
AS_JSON = "-H 'Content-Type: application/json'"
START, STOP = "systemctl start imaged", "systemctl stop imaged"
NOT_INSTALLED = "rm /usr/bin/imaged"
GOLDEN, LATEST = "1064a2d0-b4d3-4ce3-92ab-7e5d8befd90d", "5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"
FIRST_HOUR = "docs/how-to/first-hour.md"

BACKUPS = "/var/lib/imaged/backups"
BACKUP = f"printf '[backup]\\nfolder = \"{BACKUPS}\"\\n' > /etc/imaged/conf.d/backup.toml"

#: A catalog of an older version, in the place of that of the machine.
OLDER_CATALOG = f"""\
{STOP}
rm /var/lib/imaged/catalog.db*
sudo -u imaged python3 -c "
import sqlite3
db = sqlite3.connect('/var/lib/imaged/catalog.db')
db.executescript(open('{SOURCE}/tests/contracts/revision_0003.sqlite.sql').read())"
"""

#: An empty PostgreSQL of this machine, by the name that pages have for one.
EMPTY_SERVER = (
    "systemctl start postgresql",
    "echo 127.0.0.1 db.example.net >> /etc/hosts",
    "sudo -u postgres dropdb --if-exists imaged",
    "sudo -u postgres dropuser --if-exists imaged",
)
#: What the page on PostgreSQL has not made when it goes on to a catalog in SQLite.
TWELVE_IMAGES = f"""\
{STOP}
sudo -u postgres dropdb imaged
sudo -u postgres createdb --owner imaged --encoding UTF8 --template template0 imaged
rm -r /var/lib/imaged/images/* /var/lib/imaged/images/.imaged-place.json
mv /etc/imaged/conf.d/catalog.toml /srv
{START}
for n in $(seq 12); do echo $n | imaged push - --name $n --disk-format raw --quiet; done
mv /srv/catalog.toml /etc/imaged/conf.d
"""


def image(image_id: str) -> str:
    """Makes an image of 20 MiB with this id."""
    record = {
        "id": image_id, "name": "golden-12", "disk_format": "raw", "container_format": "bare"
    }  # fmt: skip
    return (
        f"curl -sf {SERVICE}/images {AS_JSON} -d '{json.dumps(record)}' && head -c 20M /dev/zero "
        f"| curl -sf -T - -H 'Content-Type: application/octet-stream' "
        f"{SERVICE}/images/{image_id}/file"
    )


def deletion(image_id: str) -> str:
    """Deletes an image; what follows it are options of curl."""
    return f"curl -sf -X DELETE {SERVICE}/images/{image_id}"


def setting(file: str, text: str) -> str:
    """Writes a file of settings."""
    return f"printf '{text}' > /etc/imaged/conf.d/{file}.toml"


FROM_NOVA = "-H 'X-Openstack-Request-Id: req-5f4c3d2e-1b0a-4987-a654-321fedcba987'"
VERIFY = json.dumps({"type": "verify", "input": {"image_id": GOLDEN}})

#: What is different on the machine of the tests, by page.
DIFFERENT: Mapping[str, Differences] = {
    "docs/how-to/answer-questions-at-night.md": Differences(before=(START,)),
    "README.md": Differences(before=(NOT_INSTALLED,)),
    "docs/how-to/back-up.md": Differences(
        before=(START,),
        meant={
            "imaged restore-backup /backup/2026-11-30T09-15-00Z --replace": (
                f"{STOP}; imaged restore-backup {BACKUPS}/2* --replace"
            )
        },
    ),
    "docs/how-to/diagnose.md": Differences(before=(START,), as_shown=False),
    "docs/how-to/export-images.md": Differences(before=(START, image(LATEST))),
    FIRST_HOUR: Differences(
        before=(NOT_INSTALLED,),
        meant={
            "192.0.2.10": "127.0.0.1",
            "admin > /etc/imaged/tokens.toml": (
                "admin > /etc/imaged/tokens.toml 2> /srv/told; cat /srv/told"
            ),
            "imaged login": "sed 's/.*: //' /srv/told | imaged login",
            "debian-12.qcow2": "/srv/debian-12.qcow2",
        },
    ),
    "docs/how-to/install.md": Differences(before=(NOT_INSTALLED,)),
    "docs/how-to/monitor.md": Differences(
        before=(
            setting("metrics", '[metrics]\\nbind = ["unix:/run/imaged/metrics.sock"]\\n'),
            START,
            "cp monitoring/alerts.yml .",
        )
    ),
    "docs/how-to/move-a-store.md": Differences(
        before=(START, STOP, "rm /var/lib/imaged/images/.imaged-place.json"),
        meant={
            "sudo -u imaged imaged adopt-store local": on_terminal(
                "sudo -u imaged imaged adopt-store local"
            )
        },
        typed={"imaged adopt-store": "y\n"},
    ),
    "docs/how-to/read-the-log.md": Differences(
        before=(
            START,
            image(GOLDEN),
            deletion(GOLDEN),
            (
                f"IMAGED_LOG__FORMAT=json imaged restore {GOLDEN} --verbose 2>&1 "
                "| grep '^{' > imaged.log"
            ),
            f"REQUEST=$({deletion(GOLDEN)} -D - {FROM_NOVA} | grep -oi 'req-[0-9a-f-]*')",
        ),
        meant={"req-fed92e59-5b4e-4d0a-b5a5-0f6ee0a5c2a1": "$REQUEST"},
        as_shown=False,
    ),
    "docs/how-to/restore-an-image.md": Differences(before=(START, image(GOLDEN), deletion(GOLDEN))),
    "docs/how-to/run-tasks.md": Differences(
        before=(
            setting("roles", '[daemon]\\nroles = ["api"]\\n'),  # so that tasks wait
            START,
            image(GOLDEN),
            f"TASK=$(curl -sf {SERVICE}/tasks {AS_JSON} -d '{VERIFY}' | jq -r .id)",
        ),
        meant={"0c1a6a54-3f53-4f5b-9d0c-4f8c3f7a1b20": "$TASK"},
    ),
    "docs/how-to/run-under-systemd.md": Differences(before=(START,), as_shown=False),
    "docs/how-to/runbooks.md": Differences(before=(START,)),
    "docs/how-to/tune-the-scrub-delay.md": Differences(before=(START,), as_shown=False),
    "docs/how-to/upgrade.md": Differences(
        before=(BACKUP, START),
        meant={
            "imaged migrate --contract": on_terminal("imaged migrate --contract"),
            "imaged check-config": f"imaged check-config && {OLDER_CATALOG}",
        },
        typed={"imaged migrate --contract": "y\n"},
    ),
    "docs/how-to/use-postgresql.md": Differences(
        before=EMPTY_SERVER,
        meant={"export IMAGED_CATALOG__URL": f"{TWELVE_IMAGES}\nexport IMAGED_CATALOG__URL"},
        typed={"createuser": "made-up\nmade-up\n", "cat > /etc/imaged/catalog.password": "made-up"},
    ),
}
#: Pages for which there must be a bucket, and a database.
WITH_BUCKET = ("docs/how-to/run-several-instances.md", "docs/how-to/use-s3.md")


@pytest.mark.parametrize("page", [page for page in pages_of(MACHINE) if page not in WITH_BUCKET])
def test_root_gets_what_the_page_says(machine: Machine, page: str) -> None:
    """Each command succeeds, in one shell, with the settings of the page."""
    machine.path("/srv/debian-12.qcow2").write_bytes(qcow2())

    follow(machine, MACHINE, page, DIFFERENT.get(page))

    if page == FIRST_HOUR:
        assert len([*machine.path(BACKUPS).glob("2*")]) == 1
        assert machine.show("imaged-backup.timer", "ActiveState") == "active"
        assert '"active": 1' in machine.run("imaged", "status", "--json")


@pytest.fixture
def bucket(machine: Machine) -> Iterator[SeaweedFS]:
    """An empty bucket in the machine's network."""
    running = seaweedfs()
    yield machine.inside(running.__enter__)
    machine.inside(lambda: running.__exit__(None, None, None))


@pytest.mark.parametrize("page", WITH_BUCKET)
def test_root_keeps_images_in_a_bucket(machine: Machine, bucket: SeaweedFS, page: str) -> None:
    """The same, with a database and a bucket on the machine itself."""
    there = {
        "docs/how-to/use-s3.md": Differences(
            before=(START,),
            meant={
                "https://s3.example.net": bucket.endpoint,
                "/dev/null /etc/imaged/cloud.access": (
                    f"/dev/null /etc/imaged/cloud.access; printf {ACCESS_KEY} > "
                    "/etc/imaged/cloud.access"
                ),
                "/dev/null /etc/imaged/cloud.secret": (
                    f"/dev/null /etc/imaged/cloud.secret; printf {SECRET_KEY} > "
                    "/etc/imaged/cloud.secret"
                ),
            },
        ),
        "docs/how-to/run-several-instances.md": Differences(
            before=(
                *EMPTY_SERVER,
                "sudo -u postgres psql -c \"CREATE ROLE imaged LOGIN PASSWORD 'made-up'\"",
                "sudo -u postgres createdb --owner imaged imaged",
                "sed -i '/^.stores/,/^file_mode/d' /etc/imaged/imaged.toml",
                "install -d -o root -g imaged -m 750 /etc/imaged/secrets",
                "printf made-up > /etc/imaged/secrets/catalog.password",
                f"printf {ACCESS_KEY} > /etc/imaged/secrets/cloud.access",
                f"printf {SECRET_KEY} > /etc/imaged/secrets/cloud.secret",
                "chgrp imaged /etc/imaged/secrets/* && chmod 640 /etc/imaged/secrets/*",
                "printf '[api]\\nbind = [\"127.0.0.1:9302\"]\\n' > /etc/imaged/west.toml",
            ),
            meant={"https://s3.example.net": bucket.endpoint},
            as_shown=False,
        ),
    }

    follow(machine, MACHINE, page, there[page])
