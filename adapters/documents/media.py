"""The media type of a document by its first bytes: its name may say anything.

A signature stands at the very beginning, so that a file which is something else first (a page
with a script, say) is never taken for a document by what comes later in it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

SNIFFED_BYTES: Final = 16


class MediaType(StrEnum):
    """What can be served; a mapping names which of them are."""

    PDF = "application/pdf"
    JPEG = "image/jpeg"
    PNG = "image/png"
    TIFF = "image/tiff"
    GIF = "image/gif"
    WEBP = "image/webp"
    JPEG_2000 = "image/jp2"
    DJVU = "image/vnd.djvu"


USUAL: Final = (MediaType.PDF, MediaType.JPEG, MediaType.PNG, MediaType.TIFF)

_SIGNATURES: Final = (
    (b"%PDF-", MediaType.PDF),
    (b"\xff\xd8\xff", MediaType.JPEG),
    (b"\x89PNG\r\n\x1a\n", MediaType.PNG),
    (b"II*\x00", MediaType.TIFF),
    (b"MM\x00*", MediaType.TIFF),
    (b"II+\x00", MediaType.TIFF),
    (b"MM\x00+", MediaType.TIFF),
    (b"GIF87a", MediaType.GIF),
    (b"GIF89a", MediaType.GIF),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", MediaType.JPEG_2000),
    (b"AT&TFORM", MediaType.DJVU),
)


def sniff(beginning: bytes) -> MediaType | None:
    """The type of a file that begins with these bytes; None for one that is not known here."""
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return MediaType.WEBP
    for signature, kind in _SIGNATURES:
        if beginning.startswith(signature):
            return kind
    return None
