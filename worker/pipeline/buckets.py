"""Which buckets are read: whoever can send to the queue can write any name into a notification."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from worker.errors import Reason, UnreadableObject

ANY_BUCKET: Final = "*"

# The cause for a bucket about which S3 was not asked.
NOT_ALLOWED: Final = f"s3:{Reason.FOREIGN_BUCKET}"

# Names of general purpose buckets. The prefixes and suffixes are reserved for what only looks like one: access points,
# directory buckets and table buckets, which belong to anybody and are reached in another way.
# docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_NAME: Final = re.compile(r"(?!xn--|sthree-)(?!.*\.\.)(?![0-9.]+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_RESERVED_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


class AllowedBuckets(msgspec.Struct, frozen=True):
    """The buckets that may be read: those of `names`. `*` among them, or no name, allows any general purpose bucket."""

    names: frozenset[str] = frozenset()

    def refusal(self, bucket: str) -> str:
        """Return why a bucket must not be read, in one line; "" when it may be."""
        if bucket in self.names:
            return ""
        if self.names and ANY_BUCKET not in self.names:
            return "TRAILSINK_BUCKETS does not allow this bucket"
        return "" if is_bucket_name(bucket) else "this is not the name of a general purpose bucket"

    def check(self, bucket: str) -> None:
        """Raise UnreadableObject for a bucket that must not be read."""
        if refusal := self.refusal(bucket):
            raise UnreadableObject(Reason.FOREIGN_BUCKET, refusal)


def is_bucket_name(name: str) -> bool:
    """Return whether S3 allows this name for a general purpose bucket."""
    return bool(_NAME.fullmatch(name)) and not name.endswith(_RESERVED_ENDS)
