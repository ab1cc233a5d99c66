"""ASiC-E containers with a CAdES signature (ETSI EN 319 162-1, section 4.4).

::

    mimetype                      first, stored: application/vnd.etsi.asic-e+zip
    META-INF/ASiCManifest.xml     the SHA-256 of every other file: what is signed
    META-INF/signature.p7s        the signature over the manifest (:mod:`exchange.evidence.cades`)
    …                             the files

Without signature there is no ASiC container: then the same files are in a plain zip, with a
manifest that names no signature, so that damage is found; ``mimetype`` is not there.

Invariants:
- names are ASCII letters, digits, ``-``, ``_``, ``.`` and ``/``, relative, without ``..``; none is
  there twice, also when case is folded; so no tool writes outside its folder or one file over
  another;
- the manifest has one spelling, one line for each file: a shell can read it;
- reading is bounded before anything is unpacked: number of files, bytes of each and of all, and
  how much smaller a packed file may be.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import BinaryIO, Final

from exchange.problems import Code, Problem

MIMETYPE: Final = "application/vnd.etsi.asic-e+zip"
MIMETYPE_FILE: Final = "mimetype"
MANIFEST: Final = "META-INF/ASiCManifest.xml"
SIGNATURE: Final = "META-INF/signature.p7s"
MAX_FILES: Final = 10_000
MAX_BYTES: Final = 256 << 20
"""Of all files together, unpacked."""
MAX_RATIO: Final = 1200
"""Deflate cannot do better than 1032; what claims more is no honest archive."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*", re.ASCII)
_MAX_NAME: Final = 200
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_PRIVATE: Final = (stat.S_IFREG | 0o600) << 16
_HEAD: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" \
xmlns:ds="http://www.w3.org/2000/09/xmldsig#">
"""
_SIGNED: Final = f'<asic:SigReference URI="{SIGNATURE}" MimeType="application/pkcs7-signature"/>\n'
_LINE: Final = (
    '<asic:DataObjectReference URI="{name}" MimeType="{kind}">'
    '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
    "<ds:DigestValue>{digest}</ds:DigestValue></asic:DataObjectReference>\n"
)
_TAIL: Final = "</asic:ASiCManifest>\n"
_KINDS: Final = {
    "crl": "application/pkix-crl",
    "der": "application/octet-stream",
    "json": "application/json",
    "ocsp": "application/ocsp-response",
    "pem": "application/x-pem-file",
    "sh": "application/x-sh",
    "tst": "application/vnd.etsi.timestamp-token",
    "txt": "text/plain",
    "xml": "application/xml",
}


def format_manifest(files: Mapping[str, bytes], *, signed: bool = True) -> bytes:
    """The manifest of some files.

    Raises:
        Problem: ``InvalidDocument`` for a name that a container cannot hold.
    """
    lines = [_HEAD, _SIGNED if signed else ""]
    for name in sorted(files):
        check_name(name)
        kind = _KINDS.get(name.rpartition(".")[2], "application/octet-stream")
        digest = b64encode(sha256(files[name]).digest()).decode()
        lines.append(_LINE.format(name=name, kind=kind, digest=digest))
    return "".join((*lines, _TAIL)).encode()


def changed_files(manifest: bytes, files: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """What is not as the manifest says: file and reason; empty when everything is.

    Args:
        manifest: with or without a reference to a signature.
        files: all but ``mimetype`` and the manifest and signature themselves.
    """
    listed = dict(re.findall(rb'URI="([^"]*)" .*<ds:DigestValue>([^<]*)<', manifest))
    if not listed:
        return [(MANIFEST, "names no file")]
    found: list[tuple[str, str]] = []
    for name, data in sorted(files.items()):
        digest = listed.pop(name.encode(), None)
        if digest is None:
            found.append((name, "is not in the manifest"))
        elif digest != b64encode(sha256(data).digest()):
            found.append((name, "has another digest than the manifest says"))
    found += ((name.decode("ascii", "replace"), "is missing") for name in listed)
    if not found and manifest != format_manifest(files, signed=is_signed(manifest)):
        found.append((MANIFEST, "is not written as it must be"))
    return found


def is_signed(manifest: bytes) -> bool:
    """Whether a manifest names a signature; nothing is checked."""
    return _SIGNED.encode() in manifest


def check_name(name: str) -> None:
    """Check the name of a file in a container.

    Raises:
        Problem: ``InvalidDocument``.
    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise _refuse(name[:80], "is no name for a file in a container")


def pack(files: Mapping[str, bytes]) -> bytes:
    """A zip of some files, ``mimetype`` first and stored; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files, key=lambda name: (name != MIMETYPE_FILE, name)):
            check_name(name)
            info = zipfile.ZipInfo(name, _TIME)
            info.external_attr = _PRIVATE
            plain = name == MIMETYPE_FILE
            archive.writestr(
                info, files[name], zipfile.ZIP_STORED if plain else zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()


def unpack(data: BinaryIO, where: str = "container") -> dict[str, bytes]:
    """The files of a zip, read within bounds.

    Args:
        data: the zip, from its beginning; can be sought.
        where: for problems.

    Raises:
        Problem: ``InvalidDocument`` when it is no zip, too large, or holds what a container must
            not: other names, a name twice, a link, an encrypted file, a ``mimetype`` that is not
            first, stored and ours.
    """
    try:
        with zipfile.ZipFile(data) as archive:
            infos = archive.infolist()
            _check_infos(infos, where)
            return {info.filename: _read(archive, info, where) for info in infos}
    # RuntimeError (also NotImplementedError): encrypted, or packed in a way that is not known here
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise _refuse(where, f"cannot be read: {error}") from error


def _check_infos(infos: list[zipfile.ZipInfo], where: str) -> None:
    if len(infos) > MAX_FILES:
        raise _refuse(where, f"holds more than {MAX_FILES} files")
    if sum(info.file_size for info in infos) > MAX_BYTES:
        raise _refuse(where, f"holds more than {MAX_BYTES >> 20} MiB")
    seen: set[str] = set()
    for info in infos:
        at = f"{where}: {ascii(info.orig_filename)[1:81]}"
        if info.orig_filename != info.filename or not _NAME.fullmatch(info.filename):
            raise _refuse(at, "is no name for a file in a container")
        check_name(info.filename)
        if info.filename.lower() in seen:
            raise _refuse(at, "is there twice")
        seen.add(info.filename.lower())
        if info.flag_bits & 1:
            raise _refuse(at, "is encrypted")
        if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
            raise _refuse(at, "is no plain file")
        if info.file_size > MAX_RATIO * max(info.compress_size, 1):
            raise _refuse(at, "unpacks to far more than its packed size allows")
    first = min(infos, key=lambda info: info.header_offset, default=None)
    for info in infos:
        if info.filename == MIMETYPE_FILE and (
            info is not first
            or info.header_offset
            or info.compress_type != zipfile.ZIP_STORED
            or info.extra
        ):
            raise _refuse(f"{where}: {MIMETYPE_FILE}", "is not first, stored and without extra")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> bytes:
    with archive.open(info) as file:
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise _refuse(f"{where}: {info.filename}", "is longer or shorter than it claims to be")
    return data


def _refuse(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, where=where, detail=detail)
