"""Certificates, read from their files again whenever these change.

Whoever renews them replaces the files; nothing is restarted and no connection is cut: a connection
keeps what it was made with, the next one is made with what is new. Files that do not fit each
other, because only one of them was replaced yet, change nothing.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import structlog

from chassis.config import ConfigError, Settings

log = structlog.get_logger()

# What tells one state of a file from another; a symbolic link is followed.
_Stamp = tuple[tuple[int, int, int], ...]
_NO_STAMP: Final[_Stamp] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pems:
    """What the files held at one moment."""

    certificate: bytes
    key: bytes = field(repr=False)
    # Who signed the peers' certificates.
    authority: bytes


class Certificates:
    """The three files of a process. Safe to use from the library's threads."""

    def __init__(self, settings: Settings) -> None:
        """Reads the files. Raises ConfigError if one is missing or they do not fit."""
        paths = (
            settings.tls_certificate_file,
            settings.tls_key_file,
            settings.tls_client_ca_file,
        )
        self._paths = [path for path in paths if path is not None]
        if len(self._paths) != len(paths):
            raise ConfigError("set all three TLS files, or none")
        self._seen = _NO_STAMP
        self._stamp = _NO_STAMP
        try:
            self._stamp = self._read_stamp()
            self.pems = self._read()
        except (OSError, ValueError) as error:
            raise ConfigError(f"the TLS files do not fit each other: {error}") from None

    @property
    def stamp(self) -> object:
        """Changes with each state of the files that was good."""
        return self._stamp

    def refresh(self) -> bool:
        """Reads the files again if they changed, and says whether they are good and new."""
        try:
            seen = self._read_stamp()
            if seen in (self._stamp, self._seen):
                return False
            pems = self._read()
        except (OSError, ValueError) as error:
            log.warning("certificates_not_renewed", error=str(error))
            return False
        finally:
            # What was wrong once is not read, and told, again until it changes.
            self._seen = self._try_stamp()
        self.pems, self._stamp = pems, seen
        log.info("certificates_renewed")
        return True

    def load_into(self, context: ssl.SSLContext) -> None:
        """Loads what the files hold now. Raises OSError."""
        certificate, key, authority = self._paths
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)

    def _read(self) -> Pems:
        certificate, key, authority = (path.read_bytes() for path in self._paths)
        try:
            self.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except ssl.SSLError as error:
            raise ValueError(error.reason or "no PEM") from None
        return Pems(certificate=certificate, key=key, authority=authority)

    def _read_stamp(self) -> _Stamp:
        return tuple(_stamp(path) for path in self._paths)

    def _try_stamp(self) -> _Stamp:
        try:
            return self._read_stamp()
        except OSError:
            return _NO_STAMP


def server_credentials(
    certificates: Certificates, *, require_client: bool
) -> grpc.ServerCredentials:
    """Returns credentials that look at the files at each new connection."""

    def configure() -> grpc.ServerCertificateConfiguration:
        pems = certificates.pems
        return grpc.ssl_server_certificate_configuration(
            [(pems.key, pems.certificate)], root_certificates=pems.authority
        )

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        return configure() if certificates.refresh() else None

    # The hints do not know that None means "as before"; the library does.
    return grpc.dynamic_ssl_server_credentials(
        configure(),
        fetch,  # type: ignore[arg-type]
        require_client_authentication=require_client,
    )


def server_context(certificates: Certificates, *, require_client: bool) -> ssl.SSLContext:
    """Returns the same for servers of Python's own: each new connection has what is new."""

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificates.load_into(context)
        if require_client:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    current = listening = make()

    def renew(connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _: object) -> None:
        nonlocal current
        if certificates.refresh():
            # Replaced again since: what was good goes on.
            with suppress(OSError):
                current = make()
        connection.context = current

    listening.sni_callback = renew
    return listening


def channel_credentials(certificates: Certificates) -> grpc.ChannelCredentials:
    """Returns credentials of what the files held when they were read last."""
    pems = certificates.pems
    return grpc.ssl_channel_credentials(
        root_certificates=pems.authority,
        private_key=pems.key,
        certificate_chain=pems.certificate,
    )


def _stamp(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)  # noqa: PTH116 - one look, and it follows links
    return (found.st_ino, found.st_mtime_ns, found.st_size)
