#!/usr/bin/env bash
# rally-openstack 4.1.0 with rally 5.1.1: how iterations share the users that a cloud already has.
#
# Guess: with `users: {user_choice_method: round_robin}` the first iteration is the first user's, the
# second the second's, for users that are there as for those that Rally makes.
# Seen: it accepts the option, and every iteration ends with KeyError: 'users' before its first call:
# the list by which it takes turns is only made for users that Rally makes. The task is `finished`,
# and `rally task start` ends with 2, as for a cloud that fails. `random`, the default, works.
# Needs Python 3.11 and a package index. Exits 0 if this version still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'rally==5.1.1' 'rally-openstack==4.1.0' 'setuptools<81' 2>"$folder/pip.log" \
  || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/run.py" <<'PYTHON'
from types import SimpleNamespace
from unittest.mock import patch

from rally.common import opts

opts.register_options_from_path("rally_openstack.common.cfg.opts:list_opts")

from rally_openstack.common import osclients
from rally_openstack.task.contexts.keystone.users import UserGenerator
from rally_openstack.task.scenario import OpenStackScenario

ACCOUNT = {"auth_url": "http://127.0.0.1/v3", "username": "ann", "password": "made-up",
           "tenant_name": "web", "permission": None}


class SignedIn:
    """Stands for Keystone, which is only asked who the user is."""

    def __init__(self, credential, **_):
        self.keystone = SimpleNamespace(
            auth_ref=SimpleNamespace(user_id="u", project_id="p")
        )


def chosen(method):
    """The user of the first iteration, as a scenario takes it."""
    account = {name: value for name, value in ACCOUNT.items() if name != "permission"}
    context = {
        "task": {"uuid": "t"}, "owner_id": "t", "tenants": {}, "users": [], "iteration": 1,
        "env": {"platforms": {"openstack": {"admin": None, "users": [account]}}},
        "config": {"users@openstack": {"user_choice_method": method}},
    }
    with patch.object(osclients, "Clients", SignedIn):
        UserGenerator(context).setup()
    scenario = OpenStackScenario.__new__(OpenStackScenario)
    try:
        scenario._choose_user(context)
    except KeyError as error:
        return f"KeyError: {error}"
    return context["user"]["id"]


seen = {method: chosen(method) for method in ("random", "round_robin")}
print(seen)
assert seen == {"random": "u", "round_robin": "KeyError: 'users'"}, seen
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py"
