"""What an object is, by its key: a CloudTrail file to read, or something to leave alone by name; and as S3 keeps it.

Layout: docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

# Organisation trails insert the organisation's id; the part after the account is the kind of file.
# The last match counts: a copy may lie below a folder of the same layout.
_LAYOUT = re.compile(r"(?:.*/)?AWSLogs/(?:o-[a-z0-9]{10,32}/)?\d{12}/(?P<kind>[^/]+)/")

_DELIVERED = re.compile(r"_(\d{8}T\d{4})Z_[^/]+$", re.ASCII)

# Other services that write below AWSLogs/, each by the folder its own documentation names. One that is not listed is
# read, and its content decides: not recognising a key must never mean losing its events.
_OTHER_SERVICES = frozenset(
    {
        "amazonmq",
        "cloudfront",
        "Config",
        "elasticloadbalancing",
        "GuardDuty",
        "network-firewall",
        "redshift",
        "route53resolver",
        "S3",
        "SecurityHub",
        "verified-access",
        "vpcdnsquerylogs",
        "vpcflowlogs",
        "vpclattice",
        "WAFLogs",
    }
)


class Ignored(msgspec.Struct, frozen=True):
    """An object that holds no events, and the name under which it is counted."""

    name: str


class Readable(msgspec.Struct, frozen=True):
    """An object to read: its kind (`CloudTrail`, `CloudTrail-Insight`, ..., `unknown`) and its delivery time in UTC.

    The delivery time is the one in the file's name, None where the name holds none.
    """

    kind: str
    delivered_at: datetime | None


class ObjectState(msgspec.Struct, frozen=True):
    """An object's newest version in S3: `readable` is False while it is archived and not restored."""

    etag: str
    size: int
    version_id: str | None
    modified_at: datetime
    readable: bool = True


def classify(key: str, size: int | None = None) -> Readable | Ignored:
    """Classify an object by its key; `size` is in bytes, None where it is not known."""
    # The folders that consoles and CloudTrail make are empty objects; one with content is somebody's file.
    if key.endswith("/") and size == 0:
        return Ignored("folder_marker")
    layout = _LAYOUT.match(key)
    kind = layout["kind"] if layout else "unknown"
    if kind == "CloudTrail-Digest":
        return Ignored("digest")
    if kind in _OTHER_SERVICES:
        return Ignored(f"service_{kind}")
    return Readable(kind, _delivered_at(key))


def _delivered_at(key: str) -> datetime | None:
    found = _DELIVERED.search(key)
    try:
        return datetime.fromisoformat(found[1]).replace(tzinfo=UTC) if found else None
    except ValueError:  # digits that are no date
        return None
