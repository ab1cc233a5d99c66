"""Reading a decoded document on behind each mistake, so that all can be told at once; no I/O.

A value is read :class:`At` its place (a JSON pointer, RFC 6901). What is wrong is noted by the
:class:`Reader`, and something harmless returned; :meth:`Reader.close` raises what was noted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from exchange.identifiers import check_code
from exchange.problems import Code, Problem

NOUN: Final = "configuration"
MAX_MISTAKES: Final = 100
MAX_CODE: Final = 80  # codes become names of folders, and addresses have a bound
MAX_URL: Final = 2000
# No controls, no breaks of lines, no surrogates and non-characters: what YAML would not keep.
NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]{1,200}")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
# RFC 3986 section 2; without braces, in which settings files name variables of the environment.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_URL: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{1,2000}")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a document, and where."""

    pointer: str
    detail: str


class Mistaken(Problem):
    """A document with mistakes, all of them."""

    def __init__(self, mistakes: tuple[Mistake, ...], noun: str = NOUN) -> None:
        first = mistakes[0]
        rest = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        super().__init__(
            Code.INVALID_DOCUMENT,
            where=f"{noun}#{first.pointer}",
            detail=first.detail + rest,
            facts={"mistakes": [f"{one.pointer}: {one.detail}" for one in mistakes]},
            status=400,
        )
        self.mistakes = mistakes


class Reader:
    """Collects mistakes; reading goes on behind each."""

    def __init__(self) -> None:
        self._mistakes: list[Mistake] = []

    def root(self, value: object) -> At:
        return At(self, value, "")

    def mistake(self, pointer: str, detail: str) -> None:
        """Note one; those beyond the bound are not kept."""
        if len(self._mistakes) < MAX_MISTAKES:
            self._mistakes.append(Mistake(pointer, detail))

    def close(self, noun: str = NOUN) -> None:
        """Raises: Mistaken when anything was wrong."""
        if self._mistakes:
            raise Mistaken(tuple(self._mistakes), noun)


@dataclass(frozen=True, slots=True)
class At:
    """A value with its place. What is wrong is noted, and something harmless returned."""

    reader: Reader
    value: Any
    pointer: str

    def wrong(self, detail: str) -> None:
        self.reader.mistake(self.pointer, detail)

    def members(
        self, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, At] | None:
        """An object with these keys; None (noted) when it is none.

        What is required and missing is noted once, and stands in as something harmless.
        """
        if not isinstance(self.value, dict):
            self.wrong("must be an object")
            return None
        keys = self.value.keys()
        known = {*required, *optional}
        for key in sorted(map(str, keys - known))[:MAX_MISTAKES]:
            self.wrong(f"unknown key {key[:80]!r}; known are {', '.join(sorted(known))}")
        missing = [key for key in required if key not in keys]
        for key in missing:
            self.wrong(f"lacks {key}")
        found = {
            key: At(self.reader, self.value[key], f"{self.pointer}/{key}")
            for key in (*required, *optional)
            if key in keys
        }
        silent = Reader()
        return found | {key: At(silent, None, self.pointer) for key in missing}

    def items(self, most: int) -> list[At]:
        """An array of at most so many items."""
        if not isinstance(self.value, list):
            self.wrong("must be an array")
            return []
        if len(self.value) > most:
            self.wrong(f"has {len(self.value)} items, at most {most} are allowed")
            return []
        return [At(self.reader, item, f"{self.pointer}/{n}") for n, item in enumerate(self.value)]

    def text(self, pattern: re.Pattern[str], form: str) -> str:
        """A string of this form."""
        if not isinstance(self.value, str):
            self.wrong("must be a string")
            return ""
        if not pattern.fullmatch(self.value):
            self.wrong(f"must be {form}")
            return ""
        return self.value

    def code(self) -> str:
        """An identifier's code (X-Road's strict set)."""
        if not isinstance(self.value, str):
            self.wrong("must be a string")
            return ""
        try:
            check_code(self.value, "")
        except Problem as problem:
            self.wrong(problem.detail)
            return ""
        if len(self.value.replace("?", "%3F")) > MAX_CODE:
            self.wrong(f"a code has at most {MAX_CODE} characters here, ? counted as three")
            return ""
        return self.value

    def url(self, schemes: tuple[str, ...], *, base: bool = False) -> str:
        """A URL with one of these schemes, without a user; ``base``: nothing after the path."""
        text = self.text(_URL, f"a URL of at most {MAX_URL} characters of RFC 3986")
        if not text:
            return ""
        try:
            parts = urlsplit(text)
            wrong = _wrong_url(parts, schemes, base=base)
        except ValueError as error:
            wrong = f"is not a URL: {error}"
        if wrong:
            self.wrong(wrong)
            return ""
        return text


def _wrong_url(parts: SplitResult, schemes: tuple[str, ...], *, base: bool) -> str:
    """What is wrong with a URL; nothing: ''."""
    if parts.scheme not in schemes:
        return f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if parts.scheme == "file":
        good = not parts.netloc and parts.path.startswith("/") and not parts.query
        return "" if good else "must be file:///path"
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or a password"
    # A last label of digits is an address in another spelling to whoever resolves it (WHATWG URL).
    is_name = HOST.fullmatch(host) and not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2])
    if parts.port == 0 or not (is_name or _is_address(host)):
        return "names no host"
    if parts.fragment or (base and parts.query):
        return "must have nothing after its path"
    if _is_address(host) and _is_of_the_link(host):
        return f"{host} is an address of the link itself, where no service is"
    return ""


def _is_of_the_link(host: str) -> bool:
    address = ip_address(host)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_link_local or address.is_multicast


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
