"""Settings of the archive, the removal of what was archived, and the tables for statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exchange.problems import Code, Problem
from serving.settings import setting

S3 = "s3://"


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """Where the journal is archived, and what is removed here when it was."""

    folder: Path | None = setting("folder of the archive, on a disk of its own", default=None)
    bucket: str | None = setting(
        "instead of `folder`: s3://bucket/prefix in an S3-compatible store", default=None
    )
    endpoint: str | None = setting(
        "URL of the S3-compatible store; without it, Amazon's", default=None
    )
    region: str | None = setting("region of the bucket", default=None)
    access_key: str | None = setting(
        "access key of the store; without it, what botocore finds", default=None
    )
    secret_key: str | None = setting("its secret, such as ${ARCHIVE_SECRET}", default=None)
    parallel: int = setting("objects on their way at the same time", default=8, low=1, high=64)
    every_s: float = setting("seconds between two runs", default=3600.0, low=1, high=7 * 86400)
    evidence_every_s: float = setting(
        "seconds between two copies of anchors and evidence", default=86400.0, low=1
    )
    statistics: bool = setting(
        "keep tables (Parquet) for `saphan audit stats`, brought up to date at each run",
        default=False,
    )
    prune_segments_days: int | None = setting(
        "days after which segments (sealed parts) that were archived are removed here; "
        "without it they stay",
        default=None,
        low=8,
    )
    prune_entries_days: int | None = setting(
        "days after which bundles of entries that were archived are removed here; without it "
        "they stay",
        default=None,
        low=62,
    )

    def __post_init__(self) -> None:
        if self.folder is not None and self.bucket is not None:
            raise _bad("bucket", "either a folder or a bucket")
        if self.bucket is not None and not self.bucket.removeprefix(S3).strip("/"):
            raise _bad("bucket", "names no bucket")
        if self.bucket is not None and not self.bucket.startswith(S3):
            raise _bad("bucket", "is not s3://bucket/prefix")
        if (self.access_key is None) != (self.secret_key is None):
            raise _bad("secret_key", "access_key and secret_key belong together")
        prunes = self.prune_segments_days is not None or self.prune_entries_days is not None
        if prunes and not self.archives:
            raise _bad("prune_segments_days", "nothing is removed that is not archived")

    @property
    def archives(self) -> bool:
        return self.folder is not None or self.bucket is not None


def _bad(name: str, detail: str) -> Problem:
    return Problem(Code.INVALID_SETTINGS, where=f"archive.{name}", detail=detail)
