"""An archive in an S3-compatible store, by botocore (the extra ``s3``).

Not by boto3, which is built on it: where that is installed, every process that reads the registry
loads it, since securesystemslib has a signer for it.

Each object is sent with its SHA-256 (``x-amz-checksum-sha256``), which the store compares; it is
read back nevertheless, since not every store does. Only PutObject and GetObject are needed, so the
account need neither list nor delete.
"""

from __future__ import annotations

import contextlib
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final

from exchange.problems import Code, Problem
from mediator.archive.settings import S3, ArchiveSettings
from mediator.archive.stores import CHUNK, Content, Stored, failed, not_found

CONNECT_S: Final = 10
READ_S: Final = 60
ATTEMPTS: Final = 4
LARGEST: Final = 5 << 30
"""An object in one request (S3); segments are far smaller."""
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})


class S3Store:
    """A bucket, or a prefix in it."""

    def __init__(self, settings: ArchiveSettings) -> None:
        try:
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
            from botocore.session import get_session
        except ImportError as error:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="archive.bucket",
                detail="botocore is not installed: pip install 'saphan[s3]'",
            ) from error
        assert settings.bucket is not None  # noqa: S101  # or there would be a folder
        self.url = settings.bucket.rstrip("/")
        self._bucket, _, prefix = self.url.removeprefix(S3).partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._refused: type[Any] = ClientError
        self._errors: tuple[type[Exception], ...] = (BotoCoreError, ClientError, OSError)
        config = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=settings.parallel,
        )
        try:
            self._client = get_session().create_client(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=settings.region,
                aws_access_key_id=settings.access_key,
                aws_secret_access_key=settings.secret_key,
                config=config,
            )
        except (*self._errors, ValueError) as error:
            raise Problem(
                Code.INVALID_SETTINGS, where="archive.bucket", detail=str(error)
            ) from error

    def put(self, stored: Stored, content: Content) -> None:
        if stored.size > LARGEST:
            raise failed(self.url, stored.name, "is larger than an object may be (5 GiB)")
        checksum = b64encode(bytes.fromhex(stored.digest)).decode()
        with contextlib.ExitStack() as stack:
            body: Any = content
            if not isinstance(content, bytes):
                body = stack.enter_context(content.open("rb"))
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + stored.name,
                    Body=body,
                    ContentLength=stored.size,
                    ChecksumSHA256=checksum,
                )
            except self._errors as error:
                raise failed(self.url, stored.name, str(error)) from error

    def read(self, name: str) -> Iterator[bytes]:
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
        except self._errors as error:
            if isinstance(error, self._refused):
                code = error.response.get("Error", {}).get("Code")
                if code in _ABSENT:
                    raise not_found(self.url, name) from error
            raise failed(self.url, name, str(error)) from error
        body = found["Body"]
        with contextlib.closing(body):
            try:
                yield from body.iter_chunks(CHUNK)
            except self._errors as error:
                raise failed(self.url, name, str(error)) from error
