"""Connections: the certificates that they trust, and what is said when they fail."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from imaged.client.errors import ConnectionFailed, EndpointInvalid, UnexpectedResponse

CONNECT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60  # within an answer


def tcp_connector(ca_file: Path | None) -> aiohttp.TCPConnector:
    """Connections that trust the certificates of a file, or those of the system.

    Raises EndpointInvalid.
    """
    if ca_file is None:
        return aiohttp.TCPConnector()
    try:
        trusted = ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise EndpointInvalid(
            f"The certificates in {ca_file} cannot be used: {error}.",
            "Name a file of certificates (PEM) that you may read.",
        ) from error
    return aiohttp.TCPConnector(ssl=trusted)


@contextmanager
def translated(
    where: object, failed: type[ConnectionFailed] = ConnectionFailed, remedy: str = ""
) -> Iterator[None]:
    """Raise ConnectionFailed (as ``failed``), EndpointInvalid, UnexpectedResponse for what the HTTP
    library raises. ``remedy``: of the first and the last, instead of their own.
    """
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise EndpointInvalid(
            f"The certificate of {where} is not trusted: {error.certificate_error}",
            "Name the file of the authority's certificate by --ca-file.",
        ) from error
    except aiohttp.ClientConnectorSSLError as error:
        raise EndpointInvalid(
            f"{where} cannot be reached by TLS: {_tls_reason(error)}.",
            "If this service speaks plain HTTP, its address begins with http://.",
        ) from error
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno or 0  # failed name lookups have others
        why = os.strerror(number) if number > 0 else error.os_error.strerror
        raise failed(f"{where} cannot be reached: {why}.", remedy) from error
    except TimeoutError as error:
        raise failed(f"{where} was silent for too long.", remedy) from error
    except aiohttp.InvalidURL as error:
        raise EndpointInvalid(f"{where} is not a valid address.") from error
    except aiohttp.ClientResponseError as error:
        raise UnexpectedResponse(
            f"The answer of {where} is not HTTP: {error.message}.", remedy
        ) from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise failed(f"The connection to {where} broke.", remedy) from error


def _tls_reason(error: aiohttp.ClientConnectorSSLError) -> str:
    """The reason of OpenSSL, as ``wrong version number``."""
    reason = getattr(error.os_error, "reason", None)
    return str(reason or "the handshake failed").replace("_", " ").lower()
