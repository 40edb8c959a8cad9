#!/usr/bin/env bash
# glance 33.0.0, schema-image.json with "required" (its extended form): who may be changed then?
#
# Guess: "required" is asked of the record, as for a new image: a PATCH of its name works, and one
# that removes the required property is refused.
# Seen: the other way round. Each operation of a PATCH is compared with the schema by itself, as an
# image of one attribute, so every add or replace of anything but the required property is 400
# ("'tier' is a required property"), also for images that have it; and with two required properties
# no add or replace works at all. A removal is not compared: it takes the required property away.
# Needs Python 3.11 and a package index. Exits 0 if this version still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'glance==33.0.0' 'setuptools<81' \
  2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/run.py" <<'PYTHON'
import json

import webob.exc
from glance.api.v2.images import RequestDeserializer, get_schema
from glance.common import config  # noqa: F401 - registers options
from glance.common.wsgi import Request
from glance.context import RequestContext
from oslo_config import cfg

PATCH = "application/openstack-images-v2.1-json-patch"


def request(method, media_type, body):
    made = Request.blank("/v2/images/x", method=method)
    made.body, made.content_type = json.dumps(body).encode(), media_type
    made.context = RequestContext(user_id="u", project_id="p")
    return made


def outcome(reader, step):
    try:
        reader.update(request("PATCH", PATCH, [step]))
    except webob.exc.HTTPBadRequest as error:
        return f"400 {error.explanation.splitlines()[0]}"
    return "read"


cfg.CONF([], project="glance")
TIER = {"tier": {"type": "string"}, "zone": {"type": "string"}}
RENAME = {"op": "replace", "path": "/name", "value": "web"}
CHANGE = {"op": "replace", "path": "/tier", "value": "gold"}
REMOVE = {"op": "remove", "path": "/tier"}
seen = {}
for required in ([], ["tier"], ["tier", "zone"]):
    reader = RequestDeserializer(get_schema({"properties": TIER, "required": required}))
    whole = {"name": "web", "tier": "gold", "zone": "a"}
    reader.create(request("POST", "application/json", whole))
    for name, step in (("rename", RENAME), ("change tier", CHANGE), ("remove tier", REMOVE)):
        seen[len(required), name] = outcome(reader, step)
        print(f"required {required}: {name}: {seen[len(required), name]}")
assert [seen[0, name] for name in ("rename", "change tier", "remove tier")] == ["read"] * 3
assert seen[1, "rename"].startswith("400"), "an image with a required property can be renamed now"
assert seen[1, "change tier"] == "read"
assert seen[2, "change tier"].startswith("400")
assert seen[1, "remove tier"] == "read", "a required property cannot be removed any more"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py"
