#!/usr/bin/env bash
# Glance 33.0.0 with oslo.policy 6.0.1 and oslo.context 6.5.0, a policy file with `is_admin:True`.
#
# Guess: the check holds for an administrator: the description of Glance's rule context_is_admin
# calls itself "the rule for the is_admin:True check", and the request's context has is_admin = True.
# Seen: it never holds, so the call is refused to administrators too. oslo.policy takes from a context
# what its to_policy_values() returns, and is_admin is not among it; `rule:context_is_admin` holds.
# Needs Python 3.11 and a package index. Exits 0 if these versions still behave so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'glance==33.0.0' 'oslo.policy==6.0.1' 'oslo.context==6.5.0' \
  2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/policy.yaml" <<'YAML'
get_images: "is_admin:True"
publicize_image: "rule:context_is_admin or role:publisher"
YAML

cat >"$folder/run.py" <<'PYTHON'
import sys
from importlib.metadata import version

import glance.common.config  # declares Glance's options
from glance import context
from glance.api import policy
from oslo_config import cfg
from oslo_policy import opts

cfg.CONF([], project="glance", default_config_files=[])
opts.set_defaults(cfg.CONF, policy_file=sys.argv[1])
enforcer = policy.Enforcer()
admin = context.RequestContext(
    user_id="u", project_id="p", roles=["admin", "member", "reader"], policy_enforcer=enforcer
)
by_flag = enforcer.check(admin, "get_images", {"project_id": "p"})
by_rule = enforcer.check(admin, "publicize_image", {"project_id": "p"})
print(f"glance {version('glance')}, oslo.policy {version('oslo.policy')}")
print(f"the context of an administrator: is_admin is {admin.is_admin}")
print(f"is_admin:True holds: {by_flag}; rule:context_is_admin holds: {by_rule}")
sys.exit(0 if admin.is_admin and by_rule and not by_flag else 1)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py" "$folder/policy.yaml"
