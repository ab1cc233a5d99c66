"""An agreement as a page to print and sign, or as text; English, Lao, or both side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from hashlib import sha256

from cryptography import x509
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from console.agreements.articles import Article, articles
from exchange.agreements import Agreement, format_agreement
from exchange.certificates import fingerprint_of, member_of
from exchange.problems import Text


class Language(StrEnum):
    """In which language an agreement is told."""

    ENGLISH = "en"
    LAO = "lo"
    BOTH = "both"


def page(agreement: Agreement, language: Language, seals: Sequence[x509.Certificate] = ()) -> str:
    """The page, whole in one file and without scripts; each printed sheet ends with the digest."""
    environment = Environment(
        loader=PackageLoader("console.agreements", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("agreement.html.j2").render(
        agreement=agreement,
        articles=articles(agreement),
        languages=_languages(language),
        digest=digest_of(agreement),
        seals=[(str(member_of(each)), fingerprint_of(each)) for each in seals],
        parties=dict.fromkeys((str(agreement.provider), str(agreement.consumer.member))),
    )


def plain_text(agreement: Agreement, language: Language) -> Iterator[str]:
    """The lines of the same articles."""
    languages = _languages(language)
    for article in articles(agreement):
        yield _told(article.heading, languages).upper()
        yield from _lines(article, languages)
        yield ""
    yield f"SHA-256 {digest_of(agreement)}"


def digest_of(agreement: Agreement) -> str:
    """The hex SHA-256 of the canonical bytes that the parties seal."""
    return sha256(format_agreement(agreement)).hexdigest()


def _lines(article: Article, languages: Sequence[str]) -> Iterator[str]:
    for line in article.lines:
        told = _told(line.text, languages)
        yield f"  {told}: {', '.join(line.values)}" if line.values else f"  {told}"


def _told(text: Text, languages: Sequence[str]) -> str:
    return " / ".join(dict.fromkeys(getattr(text, language) for language in languages))


def _languages(language: Language) -> tuple[str, ...]:
    return ("en", "lo") if language is Language.BOTH else (language.value,)
