"""An agreement as a page to print and sign, or as text; English, Lao, or both side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from hashlib import sha256

from cryptography import x509
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from console.agreements.articles import Article, articles
from exchange.agreements import Agreement, format_agreement
from exchange.certificates.names import member_of
from exchange.certificates.reading import fingerprint_of
from exchange.problems import Text


class Language(StrEnum):
    """In which language an agreement is told."""

    ENGLISH = "en"
    LAO = "lo"
    BOTH = "both"


def page(
    agreement: Agreement,
    language: Language,
    seals: Sequence[x509.Certificate] = (),
    members: Sequence[Agreement] = (),
) -> str:
    """The page, whole in one file and without scripts; each printed sheet ends with the digest.

    Args:
        members: of a group, its agreements, which say the same: the provider signs for all, and
            the digest is that of their list (:func:`list_of`).
    """
    provider, consumer = str(agreement.provider), str(agreement.consumer.member)
    environment = Environment(
        loader=PackageLoader("console.agreements", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("agreement.html.j2").render(
        agreement=agreement,
        articles=articles(agreement, members),
        members=[(str(one.consumer), one.reference, digest_of(one)) for one in members],
        name=agreement.group if members else agreement.reference,
        languages=_languages(language),
        digest=sha256(list_of(members)).hexdigest() if members else digest_of(agreement),
        seals=[(str(member_of(each)), fingerprint_of(each)) for each in seals],
        parties=dict.fromkeys((provider,) if members else (provider, consumer)),
    )


def plain_text(
    agreement: Agreement, language: Language, members: Sequence[Agreement] = ()
) -> Iterator[str]:
    """The lines of the same articles."""
    languages = _languages(language)
    for article in articles(agreement, members):
        yield _told(article.heading, languages).upper()
        yield from _lines(article, languages)
        yield ""
    if members:
        yield from list_of(members).decode().splitlines()
    yield f"SHA-256 {sha256(list_of(members)).hexdigest() if members else digest_of(agreement)}"


def digest_of(agreement: Agreement) -> str:
    """The hex SHA-256 of the canonical bytes that the parties seal."""
    return sha256(format_agreement(agreement)).hexdigest()


def list_of(members: Sequence[Agreement]) -> bytes:
    """The agreements of a group, a line each as ``sha256sum`` writes them: digest and reference."""
    lines = sorted(f"{digest_of(one)}  {one.reference}\n" for one in members)
    return "".join(lines).encode()


def _lines(article: Article, languages: Sequence[str]) -> Iterator[str]:
    for line in article.lines:
        told = _told(line.text, languages)
        yield f"  {told}: {', '.join(line.values)}" if line.values else f"  {told}"


def _told(text: Text, languages: Sequence[str]) -> str:
    return " / ".join(dict.fromkeys(getattr(text, language) for language in languages))


def _languages(language: Language) -> tuple[str, ...]:
    return ("en", "lo") if language is Language.BOTH else (language.value,)
