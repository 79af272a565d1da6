"""Objects of S3 as the pipeline knows them: named by a notification, fetched, or described."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - msgspec needs it at runtime

import msgspec


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One S3 object as a notification names it: `key` decoded, `size` in bytes, `notified_at` in UTC.

    What the notification does not say is None.
    """

    bucket: str
    key: str
    version_id: str | None = None
    size: int | None = field(default=None, compare=False)
    etag: str | None = field(default=None, compare=False)
    notified_at: datetime | None = field(default=None, compare=False)

    @property
    def uri(self) -> str:
        """The object's address, without its version."""
        return f"s3://{self.bucket}/{self.key}"

    def __str__(self) -> str:
        version = f" (version {self.version_id})" if self.version_id else ""
        return f"{self.uri}{version}"


class FetchedObject(msgspec.Struct, frozen=True):
    """The stored bytes of an object, and when S3 says that they were written."""

    content: bytes | bytearray
    modified_at: datetime


class ObjectHead(msgspec.Struct, frozen=True):
    """What S3 says of an object's newest version; `readable` is False while it is archived and not restored."""

    etag: str
    size: int
    version_id: str | None
    modified_at: datetime
    readable: bool = True
