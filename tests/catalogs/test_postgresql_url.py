"""The parameters of a PostgreSQL catalog's URL."""

from __future__ import annotations

import re

import pytest

from imaged.catalogs.postgresql.url import (
    ACCEPTED_VALUES,
    DRIVER_PARAMETERS,
    OWN_PARAMETERS,
    SESSION_SETTINGS,
    UNSUPPORTED_PARAMETERS,
    parse_catalog_url,
)
from imaged.core.errors import CatalogError

BASE = "postgresql://imaged@db.example.net/imaged"
SECRET = "correcthorse"

#: libpq 18, table "Parameter Key Words".
LIBPQ = """
    host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout
    client_encoding options application_name fallback_application_name keepalives keepalives_idle
    keepalives_interval keepalives_count tcp_user_timeout replication gssencmode sslmode
    sslnegotiation sslcompression sslcert sslkey sslkeylogfile sslpassword sslcertmode sslrootcert
    sslcrl sslcrldir sslsni requirepeer ssl_min_protocol_version ssl_max_protocol_version
    min_protocol_version max_protocol_version krbsrvname gsslib gssdelegation scram_client_key
    scram_server_key service target_session_attrs load_balance_hosts oauth_issuer oauth_client_id
    oauth_client_secret oauth_scope
"""


def test_every_parameter_of_libpq_is_known() -> None:
    """It is honoured or refused by its name: none is sent to a server as a setting."""
    assert not {*LIBPQ.split()} - {*DRIVER_PARAMETERS, *OWN_PARAMETERS, *UNSUPPORTED_PARAMETERS}
    assert {*ACCEPTED_VALUES} <= {*UNSUPPORTED_PARAMETERS}


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_PARAMETERS))
def test_what_the_driver_cannot_do_is_refused(name: str) -> None:
    """By its name, with a remedy, and without its value."""
    with pytest.raises(CatalogError, match=f"^The parameter '{name}' .* cannot be hon") as error:
        parse_catalog_url(f"{BASE}?{name}={SECRET}")
    assert SECRET not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("name", sorted(ACCEPTED_VALUES))
def test_options_that_are_fixed_may_be_given(name: str) -> None:
    """Managed services put such parameters into their URLs."""
    for value in ACCEPTED_VALUES[name]:
        address = parse_catalog_url(f"{BASE}?{name}={value}")
        assert address.urls == (BASE,)
        assert address.settings == SESSION_SETTINGS


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("sslmod=require", "'sslmod' .* did you mean 'sslmode'?"),
        ("conect_timeout=3", "did you mean 'connect_timeout'?"),
        ("target_session_attr=any", "did you mean 'target_session_attrs'?"),
        (f"pasword={SECRET}", "did you mean 'password'?"),
        ("channel_binding=require", "sslmode=verify-full"),
        ("connect_timeout=0", "from 1 to 15"),
        ("connect_timeout=soon", "from 1 to 15"),
        ("connect_timeout=16", "from 1 to 15"),
        ("connect_timeout=%C2%B2", "from 1 to 15"),
        ("host=a&port=ten", "'port' .* must be a number"),
        ("host=a,b&port=5432,", "'port' .* must be a number"),
        ("sslmode=", "'sslmode' .* has no value"),
        ("sslmode", "cannot be parsed"),
        ("statement_timeout=1h", "'statement_timeout' .* is set by imaged itself"),
    ],
)
def test_the_wrong_option_is_named(query: str, why: str) -> None:
    """The parameter, and what to write instead; never a value."""
    with pytest.raises(CatalogError, match=why) as error:
        parse_catalog_url(f"{BASE}?{query}")
    assert SECRET not in str(error.value)


def test_settings_of_the_server_go_to_each_session() -> None:
    """Names that libpq does not know."""
    address = parse_catalog_url(
        f"{BASE}?search_path=images&application_name=east&connect_timeout=3"
    )
    assert address.settings == {"search_path": "images", **SESSION_SETTINGS}
    assert address.startup == {"application_name": "east"}
    assert address.connect_seconds == 3
    assert address.urls == (BASE,)


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        (f"{BASE}?sslmode=require", [f"{BASE}?sslmode=require"]),
        (
            "postgresql://me:p%40ss@a,b:5433,[::1]:5434/facts?sslmode=require",
            [
                f"postgresql://me:p%40ss@{host}/facts?sslmode=require"
                for host in ("a", "b:5433", "[::1]:5434")
            ],
        ),
        (
            "postgresql:///facts?host=/run/a,/run/b&port=1,2&user=me",
            [
                f"postgresql:///facts?user=me&host=%2Frun%2F{one}"
                for one in ("a&port=1", "b&port=2")
            ],
        ),
        (
            "postgresql:///facts?host=a,b&port=9",
            ["postgresql:///facts?host=a&port=9", "postgresql:///facts?host=b&port=9"],
        ),
        ("postgresql:///facts", ["postgresql:///facts"]),
    ],
)
def test_each_host_has_its_turn(url: str, urls: list[str]) -> None:
    """In the order of the URL, each with everything else in the URL."""
    assert list(parse_catalog_url(url).urls) == urls


def test_no_error_has_a_value_of_the_url() -> None:
    """Also if all of it is wrong."""
    with pytest.raises(CatalogError) as error:
        parse_catalog_url(f"postgresql://me:{SECRET}@h/d?{SECRET}")
    assert not re.search(SECRET, str(error.value))
