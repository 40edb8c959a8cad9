"""What each error of PostgreSQL means, and whether its transaction may be retried.

The server reports a code of five characters (SQLSTATE). The table's longest matching prefix gives
the message for the operator. If connecting failed, the server's (or a pooler's) own words follow:
they name the parameter, the host or the limit. If a statement failed they do not: they may quote a
client. No text of the driver is used: it may contain a password.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from imaged.core.errors import CatalogError, CatalogFull, CatalogUnavailable

#: By SQLSTATE or a prefix of it: the server's error, as "The catalog x on y …".
SQLSTATE_MESSAGES: Mapping[str, str] = {
    "08": "was lost: the connection broke off",
    "08P01": "was not understood by its server, or by a pooler before it",
    "22": "cannot store such a value",
    "23": "refused a change that violates one of its constraints",
    "25006": "is read-only: its server is a standby, or is set to refuse changes",
    "26": (
        "lost its prepared statements: a pooler before its server gives connections other "
        "sessions; let it pool transactions or sessions, and restart imaged"
    ),
    "25P03": "was lost: the server ended a transaction that was idle for too long",
    "28": "does not admit this role: check the role's name, and the server's pg_hba.conf",
    "28P01": "refused the role, or its password",
    "3D000": "does not exist: create the database first",
    "3F000": "has no schema for its tables: check the role's search_path",
    "40": "had conflicts with other transactions at every attempt",
    "42": "does not fit this version of imaged",
    "42P05": (
        "has statements of another connection in its session: a pooler before its server gives "
        "connections other sessions; let it pool transactions or sessions, and restart imaged"
    ),
    "42704": "does not know a setting: check the parameters of its URL",
    "42501": "denies this to the role: its tables belong to another role",
    "42P01": "has no tables: run `imaged migrate`",
    "53": "has no resources left on its server",
    "53100": "has no room: its server's disk is full",
    "53300": "has no connection left: raise the server's max_connections",
    "55P03": "is busy: a lock was not released in time",
    "57": "was lost: its server was shut down",
    "57014": "took too long for one statement",
    "57P03": "does not answer yet: its server is starting, stopping or recovering",
    "58": "cannot be read or written: its server's disk reports an error",
    "XX001": "is damaged; restore it from a backup",
    "XX002": "is damaged; restore it from a backup",
}
UNKNOWN_FAILURE = "failed"

#: For errors that are not the server's, by the driver's exception; the first match counts.
CONNECT_MESSAGES: Mapping[type[BaseException], str] = {
    TimeoutError: "does not answer: no connection was made in time",
    socket.gaierror: "cannot be reached: its host name cannot be resolved",
    ssl.SSLError: "cannot be reached: TLS failed",
    ConnectionRefusedError: (
        "cannot be reached: no server answers at this address (port 5432, unless the URL or PGPORT "
        "names another)"
    ),
    FileNotFoundError: "cannot be reached: there is no such socket or certificate",
    PermissionError: "cannot be reached: a socket or a certificate may not be read",
    OSError: "cannot be reached",
    asyncpg.TargetServerAttributeNotMatched: (
        "cannot be reached: no server matches target_session_attrs"
    ),
    asyncpg.ClientConfigurationError: (
        "cannot be reached: its URL, or one of PostgreSQL's variables, is wrong"
    ),
    ValueError: "cannot be reached: its URL, or one of PostgreSQL's variables, is wrong",
}

#: The transaction was rolled back and may succeed when it is retried.
RETRYABLE_STATES = (
    "23505",  # a concurrent insert of the same row: visible to the retry
    "40",
)
#: Errors that no retry resolves, whatever the server does meanwhile.
PERMANENT_STATES = ("22", "23", "28", "3D", "3F", "42", "XX")
#: The connection is lost, within a transaction or before it began.
CONNECTION_LOST_STATES = ("08", "25P03", "57P01", "57P02", "57P05")
#: If a commit fails so, it is certain that nothing was committed.
ROLLED_BACK_STATES = ("23", "40")

#: Refused by a standby server, or by one that was set to refuse changes.
READ_ONLY_STATE = "25006"
PROTOCOL_VIOLATION = "08P01"
DISK_FULL_STATE = "53100"
#: The connection was made, and ended during its setup.
RESET_ERRORS = (ConnectionResetError, BrokenPipeError)
#: Errors that every host of a URL would give.
SAME_ON_ALL_HOSTS_STATES = ("28", "3D")
MAX_SERVER_MESSAGE = 300  # of the server's text


@dataclass(frozen=True, slots=True)
class DatabaseFault:
    """What went wrong."""

    why: str
    is_retryable_now: bool = False  # at once, if the commit was not sent yet
    is_temporary: bool = True  # when the server is back, has room or accepts changes
    is_rolled_back: bool = False  # even after the commit was sent
    is_full: bool = False  # the server's disk


class DatabaseUnreachable(Exception):
    """No connection was made. Strictly private: it becomes a CatalogError."""

    def __init__(
        self, why: str, *, is_retryable_now: bool = False, is_temporary: bool = True
    ) -> None:
        super().__init__(why)
        self.fault = DatabaseFault(
            why, is_retryable_now=is_retryable_now, is_temporary=is_temporary
        )

    @classmethod
    def from_error(cls, error: BaseException) -> DatabaseUnreachable:
        """The reason, with the words of the server if it sent any."""
        code = getattr(error, "sqlstate", None) or ""
        is_lost = (
            code.startswith(CONNECTION_LOST_STATES)
            or isinstance(error, RESET_ERRORS)
            or _is_closed(error)
        )
        why = (
            _message_for(code)
            if code
            else SQLSTATE_MESSAGES["08"]
            if is_lost
            else _connect_message(error)
        )
        if words := _server_message(error):
            why += f". Its server says: {words}"
        one = cls(
            why,
            is_retryable_now=is_lost and code != PROTOCOL_VIOLATION,
            is_temporary=not isinstance(error, ValueError)
            and not code.startswith(PERMANENT_STATES),
        )
        one.__cause__ = error
        return one


#: Exceptions of the driver while a connection is made.
CONNECT_ERRORS = (
    OSError,
    ValueError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
DRIVER_ERRORS = (SQLAlchemyError, DatabaseUnreachable, *CONNECT_ERRORS)


def _is_closed(error: BaseException) -> bool:
    """Whether a session had ended before a call: for that the driver has a text and no code."""
    return isinstance(error, asyncpg.InterfaceError) and "connection is closed" in str(error)


def is_same_on_all_hosts(error: BaseException) -> bool:
    """Whether other hosts need not be tried: they have the same roles and databases."""
    code = getattr(error, "sqlstate", None) or ""
    return isinstance(error, ValueError) or code.startswith(SAME_ON_ALL_HOSTS_STATES)


def classify_error(error: BaseException) -> DatabaseFault:
    """The fault that an exception stands for."""
    if isinstance(error, DatabaseUnreachable):
        return error.fault
    if isinstance(error, DBAPIError):
        code = getattr(error.orig, "sqlstate", None) or ""
        is_lost = error.connection_invalidated or code.startswith(CONNECTION_LOST_STATES)
        is_stale = type(error.orig).__name__ == "InvalidCachedStatementError"
        without_code = (
            SQLSTATE_MESSAGES["08"]
            if is_lost
            else _connect_message(getattr(error.orig, "__cause__", None))
        )
        return DatabaseFault(
            _message_for(code) if code else without_code,
            is_retryable_now=is_lost or is_stale or code.startswith(RETRYABLE_STATES),
            is_temporary=(bool(code) or is_lost) and not code.startswith(PERMANENT_STATES),
            is_rolled_back=code.startswith(ROLLED_BACK_STATES),
            is_full=code == DISK_FULL_STATE,
        )
    if isinstance(error, StatementError):  # before the driver: half a surrogate pair in JSON
        return DatabaseFault(SQLSTATE_MESSAGES["22"], is_temporary=False)
    if isinstance(error, asyncpg.PostgresError):
        return DatabaseFault(_message_for(error.sqlstate or ""))
    return DatabaseFault(_connect_message(error), is_temporary=isinstance(error, OSError))


@contextmanager
def translated_errors(name: str) -> Iterator[None]:
    """Translate every error of the block into those of the core."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise catalog_error_of(name, classify_error(error)) from error


def catalog_error_of(name: str, fault: DatabaseFault) -> CatalogError:
    """The error for the caller."""
    kind = CatalogUnavailable if fault.is_temporary else CatalogError
    if fault.is_full:
        kind = CatalogFull
    return kind(f"The catalog {name} {fault.why}.")


def _server_message(error: BaseException) -> str:
    """The server's text in one line, without control characters, cut to a maximum."""
    said = str(error.args[0]) if error.args else ""
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        said = said.partition(": ")[2]  # raised by the driver, without the server
    elif getattr(error, "severity", None) is None:
        return ""
    plain = "".join(letter if letter.isprintable() else " " for letter in said)
    return " ".join(plain.split())[:MAX_SERVER_MESSAGE]


def _message_for(code: str) -> str:
    beginnings = (code[:length] for length in range(len(code), 1, -1))
    return next(
        (SQLSTATE_MESSAGES[begin] for begin in beginnings if begin in SQLSTATE_MESSAGES),
        f"{UNKNOWN_FAILURE} ({code})",
    )


def _connect_message(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"cannot be trusted: {error.verify_message}"
    if isinstance(error, ConnectionError) and "SSL" in str(error):  # the driver's own
        return "cannot be reached: its server does not offer TLS, and the URL asks for it"
    for kind, why in CONNECT_MESSAGES.items():
        if isinstance(error, kind):
            return why
    return UNKNOWN_FAILURE
