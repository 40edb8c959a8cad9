"""The parameters that the URL of a PostgreSQL catalog may have.

Rule 1: every parameter of libpq is honoured, or refused by its name with the remedy
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS).
Rule 2: a name that libpq does not know is a setting of the server, for each session; the server
refuses what it does not know either. A name that is nearly one of libpq's is a typing error.
Rule 3: no error shows a value: it may be a password.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from imaged.core.errors import CatalogError

DEFAULT_CONNECT_SECONDS = 5
MAX_CONNECT_SECONDS = 15  # a call ends after 20
TYPO_CUTOFF = 0.8  # of a typing error

#: Parameters that the driver reads.
DRIVER_PARAMETERS = frozenset({
    "host", "port", "dbname", "database", "user", "password", "passfile", "service", "sslmode",
    "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname",
    "gsslib",
})  # fmt: skip

#: Those of them that name files.
FILE_PARAMETERS = ("passfile", "sslcert", "sslcrl", "sslkey", "sslrootcert")

#: Set in every session of the server. ``lock_timeout`` exceeds
#: ``idle_in_transaction_session_timeout``, so a frozen holder is evicted before those that wait for
#: it give up.
SESSION_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "jit": "off",  # statements are small
        "idle_in_transaction_session_timeout": "8s",
        "lock_timeout": "12s",
        "statement_timeout": "15s",
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }
)

#: Values that are always in effect.
ACCEPTED_VALUES: Mapping[str, frozenset[str]] = {
    "channel_binding": frozenset({"prefer", "disable"}),
    "client_encoding": frozenset({"auto", "utf8", "UTF8", "UTF-8", "utf-8"}),
    "gssencmode": frozenset({"prefer", "disable"}),
    "keepalives": frozenset({"1"}),
    "load_balance_hosts": frozenset({"disable"}),
    "sslcompression": frozenset({"0"}),
    "sslsni": frozenset({"1"}),
}

_KEEPALIVES = "leave it out: imaged asks the server for keepalives, and limits each call itself"

#: Parameters of libpq that the driver lacks, with the remedy.
UNSUPPORTED_PARAMETERS: Mapping[str, str] = {
    "channel_binding": "leave it out, and use sslmode=verify-full to verify the server's identity",
    "client_encoding": "leave it out: it is always UTF-8",
    "fallback_application_name": "use application_name",
    "gssdelegation": "leave it out: the driver does not delegate credentials",
    "gssencmode": "use TLS: sslmode=verify-full",
    "hostaddr": "write the address in place of the host's name",
    "keepalives": _KEEPALIVES,
    "keepalives_count": _KEEPALIVES,
    "keepalives_idle": _KEEPALIVES,
    "keepalives_interval": _KEEPALIVES,
    "load_balance_hosts": "leave it out: hosts are tried in their order",
    "max_protocol_version": "leave it out",
    "min_protocol_version": "leave it out",
    "oauth_client_id": "use a password or a certificate",
    "oauth_client_secret": "use a password or a certificate",
    "oauth_issuer": "use a password or a certificate",
    "oauth_scope": "use a password or a certificate",
    "replication": "leave it out: imaged replicates nothing",
    "require_auth": "use sslmode=verify-full to verify the server's identity",
    "requirepeer": "use sslmode=verify-full to verify the server's identity",
    "requiressl": "use sslmode=require",
    "scram_client_key": "use catalog.password_file",
    "scram_server_key": "use catalog.password_file",
    "sslcertmode": "leave it out: a certificate is sent if sslcert names one",
    "sslcompression": "leave it out: no connection is compressed",
    "sslcrldir": "use sslcrl",
    "sslkeylogfile": "leave it out",
    "sslsni": "leave it out: the host's name is always sent",
    "tcp_user_timeout": _KEEPALIVES,
}

#: Parameters that are honoured here.
OWN_PARAMETERS = frozenset({"connect_timeout", "application_name", "options"})


@dataclass(frozen=True, slots=True)
class ConnectionParameters:
    """Where a catalog is, and how its sessions are set up."""

    urls: Sequence[str]  # one per host, as the driver reads them; in the order of trying
    settings: Mapping[str, str]  # of each session
    startup: Mapping[str, str]  # statements at the start of a session
    connect_seconds: float = DEFAULT_CONNECT_SECONDS  # per host


def parse_catalog_url(url: str) -> ConnectionParameters:
    """Parse a URL. Raises CatalogError with the parameter and the remedy."""
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise CatalogError(
            "The catalog's URL cannot be parsed: behind the question mark it has "
            "name=value, joined by &."
        ) from None
    parameters = dict(pairs)
    for name, value in parameters.items():
        _check(name, value)
    driver = {name: value for name, value in parameters.items() if name in DRIVER_PARAMETERS}
    startup = {"application_name": parameters.pop("application_name", "imaged")}
    if "options" in parameters:
        startup["options"] = parameters.pop("options")
    others = {*DRIVER_PARAMETERS, *ACCEPTED_VALUES, "connect_timeout"}
    own = {name: value for name, value in parameters.items() if name not in others}
    return ConnectionParameters(
        urls=tuple(_host_urls(parts, driver)),
        settings={**own, **SESSION_SETTINGS},
        startup=startup,
        connect_seconds=float(parameters.get("connect_timeout", DEFAULT_CONNECT_SECONDS)),
    )


def display_name_of(url: str) -> str:
    """The name of a catalog in errors: its database and its host, and no secret."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2] or query.get("host", "")
    database = unquote(parts.path.lstrip("/"))
    return f"{database} on {host or 'this machine'}"


def files_in_url(url: str) -> frozenset[Path]:
    """The files that the URL of a catalog names: certificates, keys, passwords."""
    query = dict(parse_qsl(urlsplit(url).query))
    return frozenset(
        Path(query[name]) for name in FILE_PARAMETERS if query.get(name, "").startswith("/")
    )


def _check(name: str, value: str) -> None:
    """Raise CatalogError unless the parameter can be honoured."""
    if not value:
        raise _parameter_error(name, "has no value: write one, or leave it out.")
    if name in SESSION_SETTINGS:
        raise _parameter_error(name, "is set by imaged itself, which depends on it: leave it out.")
    if name == "connect_timeout" and not _is_number(value, 1, MAX_CONNECT_SECONDS):
        raise _parameter_error(name, f"must be whole seconds, from 1 to {MAX_CONNECT_SECONDS}.")
    if name == "port" and not all(_is_number(port, 1, 65535) for port in value.split(",")):
        raise _parameter_error(name, "must be a number, or one for each host, joined by commas.")
    if name in UNSUPPORTED_PARAMETERS and value not in ACCEPTED_VALUES.get(name, ()):
        raise _parameter_error(name, f"cannot be honoured: {UNSUPPORTED_PARAMETERS[name]}.")
    if near := _suggestion(name):
        raise _parameter_error(name, f"is not known; did you mean {near!r}?")


def _suggestion(name: str) -> str:
    """The parameter that a misspelled name resembles; "" if there is none."""
    known = {*DRIVER_PARAMETERS, *OWN_PARAMETERS, *UNSUPPORTED_PARAMETERS}
    nearest = get_close_matches(name, sorted(known), n=1, cutoff=TYPO_CUTOFF)
    return nearest[0] if nearest and name not in known else ""


def _is_number(text: str, least: int, most: int) -> bool:
    return text.isascii() and text.isdigit() and least <= int(text[:9]) <= most


def _parameter_error(name: str, why: str) -> CatalogError:
    return CatalogError(f"The parameter {name!r} of the catalog's URL {why}")


def _host_urls(parts: SplitResult, driver: Mapping[str, str]) -> Iterator[str]:
    """A URL for each host. The driver has one time limit for all hosts together, so a first host
    that drops packets would use up the time of the second.
    """
    credentials, at, hosts = parts.netloc.rpartition("@")
    query = dict(driver)
    if hosts:
        for host in hosts.split(","):
            yield _joined(parts, f"{credentials}{at}{host}", query)
        return
    named = query.pop("host", "").split(",")
    ports = query.pop("port", "").split(",")
    for number, host in enumerate(named):
        port = ports[number] if len(ports) == len(named) else ports[0]
        one = {name: value for name, value in (("host", host), ("port", port)) if value}
        yield _joined(parts, parts.netloc, {**query, **one})


def _joined(parts: SplitResult, netloc: str, query: Mapping[str, str]) -> str:
    asked = f"?{urlencode(query)}" if query else ""
    return f"{parts.scheme}://{netloc}{parts.path}{asked}"
