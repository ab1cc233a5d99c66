"""Answered values as JSON: numbers keep the text that their field gives them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

Written = msgspec.Raw
"""A value that is JSON already: ``Written("12.50")`` is the number of that text."""
_ENCODER: Final = msgspec.json.Encoder()


class NotJson(ValueError):
    """A value that JSON has no text for, such as one with lone surrogates."""


def write_json(value: Any) -> bytes:
    """``value`` as JSON (RFC 8259); mappings, lists, structs of msgspec, and what fields answer.

    Raises:
        NotJson: for a text with lone surrogates or a value of a type that JSON does not have.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError) as error:
        raise NotJson(str(error)) from error
