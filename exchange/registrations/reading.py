"""What the documents of registrations share: certificates, codes, texts."""

from __future__ import annotations

from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates.reading import parse_certificates
from exchange.documents import Node
from exchange.identifiers import check_code
from exchange.problems import Problem
from exchange.registrations.values import Environment, ServiceType

MAX_CERTIFICATE_CHARS = 16_384
MAX_CERTIFICATES = 16


def pem(certificate: x509.Certificate) -> str:
    """The one PEM form of a certificate that documents may hold."""
    return certificate.public_bytes(Encoding.PEM).decode()


def read_certificates(node: Node, *, least: int, most: int) -> tuple[x509.Certificate, ...]:
    """Certificates in PEM, ``least`` to ``most`` and none twice."""
    certificates = tuple(read_certificate(item) for item in node.items(most, least))
    if len(set(certificates)) != len(certificates):
        raise node.refuse("holds a certificate twice")
    return certificates


def read_certificate(node: Node) -> x509.Certificate:
    """One certificate in the customary PEM form and nothing else."""
    text = node.text(MAX_CERTIFICATE_CHARS)
    try:
        certificates = parse_certificates(text.encode())
    except Problem as problem:
        raise node.refuse(problem.detail) from problem
    if len(certificates) != 1 or pem(certificates[0]) != text:
        raise node.refuse("must be exactly one certificate in the customary PEM form")
    return certificates[0]


def read_code(node: Node) -> str:
    """One of X-Road's codes."""
    text = node.text(255)
    try:
        return check_code(text, node.pointer)
    except Problem as problem:
        raise node.refuse(problem.detail) from problem


Choice = TypeVar("Choice", Environment, ServiceType)


def read_choice(kind: type[Choice], node: Node) -> Choice:
    """One of the words of ``kind``."""
    text = node.text(40)
    try:
        return kind(text)
    except ValueError as error:
        choices = ", ".join(item.value for item in kind)
        raise node.refuse(f"must be one of {choices}") from error


def check_distinct(node: Node, names: list[str]) -> None:
    """Refuse ``node`` when a name comes twice in it."""
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise node.refuse(f"names {twice} twice")


def pems(certificates: tuple[x509.Certificate, ...]) -> list[str]:
    """Certificates as documents hold them."""
    return [pem(certificate) for certificate in certificates]
