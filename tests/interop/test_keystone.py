"""The Keystone of the tests: what it says of the tokens that imaged is to meet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from support.keystone import Keystone, running_keystone


def test_each_kind_of_scope(keystone: Keystone) -> None:
    """A project, a domain, the system, and none."""
    user = keystone.create_person("member")
    keystone.grant("reader", user, domain="default")
    keystone.grant("reader", user, on_system=True)

    scopes = {
        "project": keystone.token(user),
        "domain": keystone.token(user, domain="default"),
        "system": keystone.token(user, on_system=True),
        "none": keystone.unscoped_token(user),
    }

    told = {kind: keystone.validate(token).body["token"] for kind, token in scopes.items()}
    assert told["project"]["project"]["id"] == user.project
    assert {one["name"] for one in told["project"]["roles"]} == {"member", "reader"}
    assert told["domain"]["domain"]["id"] == "default"
    assert told["system"]["system"] == {"all": True}
    assert "roles" not in told["none"]


def test_a_trust_ends_with_the_role_of_its_trustor(keystone: Keystone) -> None:
    """Which is not found, but forbidden."""
    trustor, trustee = keystone.create_person(), keystone.create_user()
    token = keystone.trust_token(trustee, keystone.create_trust(trustor, trustee, ["member"]))
    assert keystone.validate(token).status == 200

    keystone.take_back("member", trustor, project=trustor.project)

    assert keystone.validate(token).status == 403


def test_access_rules(keystone: Keystone) -> None:
    """They are told with the token."""
    rule = {"service": "image", "method": "GET", "path": "/v2/images"}
    user = keystone.create_person()
    credential = keystone.create_credential(user, [rule])

    told = keystone.validate(keystone.credential_token(*credential)).body["token"]

    (found,) = told["application_credential"]["access_rules"]
    assert found.items() >= rule.items()


def test_a_revoked_token_and_an_invented_one(keystone: Keystone) -> None:
    """Neither is found."""
    user = keystone.create_person()
    token = keystone.token(user)
    keystone.revoke(token)

    assert keystone.validate(token).status == 404
    assert keystone.validate("invented").status == 404


def test_the_service_user_may_validate(keystone: Keystone) -> None:
    """And sees the endpoint of the images in a token's catalogue."""
    keystone.create_service("image", "http://127.0.0.1:9292", "elsewhere")
    subject = keystone.token(keystone.create_person())
    own = keystone.token(keystone.service_user)

    answer = keystone.ask("GET", "/auth/tokens", token=own, headers={"X-Subject-Token": subject})

    assert answer.status == 200
    urls = {
        endpoint["url"]
        for service in answer.body["token"]["catalog"]
        for endpoint in service["endpoints"]
    }
    assert urls >= {keystone.url, "http://127.0.0.1:9292"}


@pytest.mark.timeout(300)
def test_short_lives_and_restarts() -> None:
    """A token ends by itself; after a crash of Keystone the others are valid as before."""
    with running_keystone(token={"expiration": 5}) as keystone:
        user = keystone.create_person()
        token = keystone.token(user)
        end = keystone.validate(token).body["token"]["expires_at"]
        assert datetime.fromisoformat(end) < datetime.now(UTC) + timedelta(seconds=5)
        keystone.settings = {"token": {"expiration": 3600}}

        keystone.kill()
        with pytest.raises(OSError, match="refused"):
            keystone.validate(token)
        keystone.start()
        del keystone.admin_token  # it has ended, or soon will

        assert keystone.validate(keystone.token(user)).status == 200
