"""TLS contexts: 1.3 only between servers, certificates on both ends, failed handshakes observed.

A handshake that fails never reaches an HTTP handler, so the context's SSL object reports it: who
presents an expired or foreign certificate is then known, counted and recorded.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.problems import Code, Problem

OnFailure = Callable[[ssl.SSLError], None]


def _observed(on_failure: OnFailure) -> type[ssl.SSLObject]:
    class ObservedSSLObject(ssl.SSLObject):
        """Reports the error of a failed handshake once, then lets it take its course."""

        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                on_failure(error)
                raise

    return ObservedSSLObject


def _pem(certificates: Sequence[x509.Certificate]) -> str:
    return "".join(
        certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in certificates
    )


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise Problem(
            Code.INVALID_SETTINGS,
            where=str(certificate),
            detail=f"the certificate and key {key.name} cannot be used together: {error}",
        ) from error


def peer_server_context(
    certificate: Path,
    key: Path,
    authorities: Sequence[x509.Certificate],
    on_failure: OnFailure,
) -> ssl.SSLContext:
    """The listening end of the link: TLS 1.3, the peer must show a certificate of ``authorities``.

    Raises:
        Problem: ``InvalidSettings`` when certificate and key cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=_pem(authorities))
    context.sslobject_class = _observed(on_failure)
    _load_chain(context, certificate, key)
    return context


def peer_client_context(
    certificate: Path, key: Path, authorities: Sequence[x509.Certificate]
) -> ssl.SSLContext:
    """The calling end of the link: TLS 1.3, own certificate shown, the peer's checked.

    Host names are not compared: the certificate must be one that the registry lists for the
    server that is called, which is stricter (see mediator/consumer/link.py).

    Raises:
        Problem: ``InvalidSettings`` when certificate and key cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=_pem(authorities))
    _load_chain(context, certificate, key)
    return context


def application_context(
    certificate: Path,
    key: Path,
    pinned: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
    on_failure: OnFailure,
) -> ssl.SSLContext:
    """The inlet's HTTPS end: TLS 1.2 or later; a client certificate is asked for, not demanded.

    Pinned certificates are trust anchors by themselves (``VERIFY_X509_PARTIAL_CHAIN``), so a
    self-signed one works; which application it belongs to is decided by the inlet.

    Raises:
        Problem: ``InvalidSettings`` when certificate and key cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    anchors = [*pinned, *authorities]
    if anchors:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=_pem(anchors))
    context.sslobject_class = _observed(on_failure)
    _load_chain(context, certificate, key)
    return context
