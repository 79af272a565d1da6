"""The grammar of CloudTrail's object keys: what an object is, judged by its key alone.

  [prefix/]AWSLogs/[o-ORGANISATION/]ACCOUNT/KIND/REGION/YYYY/MM/DD/name_YYYYMMDDTHHmmZ_unique.json.gz
docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html

Day and time in a key are those of the delivery, in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import msgspec

# Digest files hold signatures, not events.
KINDS = ("CloudTrail", "CloudTrail-Aggregated", "CloudTrail-Insight", "CloudTrail-NetworkActivity")

ROOT = "AWSLogs/"

ACCOUNT = re.compile(r"[0-9]{12}")
ORGANISATION = re.compile(r"o-[a-z0-9]{10,32}")

# Organisation trails insert the organisation's id; the part after the account is the kind of file.
_LAYOUT = rf"AWSLogs/(?:(?P<org>{ORGANISATION.pattern})/)?(?P<account>{ACCOUNT.pattern})/(?P<kind>[^/]+)/"
# The last match counts: a copy may lie below a folder of the same layout.
_BELOW_ANY_PREFIX = re.compile(rf"(?:.*/)?{_LAYOUT}", re.DOTALL)
_LOG_FILE = re.compile(
    rf"{_LAYOUT}(?P<region>[^/]+)/(?P<year>[0-9]{{4}})/(?P<month>[0-9]{{2}})/(?P<day>[0-9]{{2}})/.*[^/]", re.DOTALL
)
_DAY_FOLDER = re.compile(r"(?P<folder>.*/)[0-9]{4}/[0-9]{2}/[0-9]{2}/[^/]+", re.DOTALL)
_DELIVERED = re.compile(r"_([0-9]{8}T[0-9]{4})Z_[^/]+$")

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


class LogFile(msgspec.Struct, frozen=True):
    """An object to read: its kind (`CloudTrail`, `CloudTrail-Insight`, ..., `unknown`) and its delivery time in UTC.

    The delivery time is the one in the key, None where the key holds none.
    """

    kind: str
    delivered_at: datetime | None


class FileKey(msgspec.Struct, frozen=True):
    """The parts of a log file's key; `org` is "" outside an organisation trail, `day` the day of the delivery.

    `delivered_at` is the minute of the delivery in UTC, None where the name holds none.
    """

    org: str
    account: str
    kind: str
    region: str
    day: date
    delivered_at: datetime | None


def classify(key: str, size: int | None = None) -> LogFile | Ignored:
    """Classify an object by its key; `size` is in bytes, None where it is not known."""
    # The folders that consoles and CloudTrail create are empty objects; one with content is somebody's file.
    if key.endswith("/") and size == 0:
        return Ignored("folder_marker")
    layout = _BELOW_ANY_PREFIX.match(key)
    kind = layout["kind"] if layout else "unknown"
    if kind == "CloudTrail-Digest":
        return Ignored("digest")
    if kind in _OTHER_SERVICES:
        return Ignored(f"service_{kind}")
    return LogFile(kind, delivered_at(key))


def parse_key(key: str, root: str) -> FileKey | None:
    """Parse a key below `root` (what stands before AWSLogs/); None when it is not a CloudTrail log file."""
    match = _LOG_FILE.fullmatch(key, len(root)) if key.startswith(root) else None
    if match is None or match["kind"] not in KINDS:
        return None
    try:
        day = date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:  # digits that are not a date
        return None
    return FileKey(match["org"] or "", match["account"], match["kind"], match["region"], day, delivered_at(key))


def delivered_at(key: str) -> datetime | None:
    """Return the delivery time in a key, in UTC and to the minute; None where the name holds none."""
    match = _DELIVERED.search(key)
    try:
        return datetime.fromisoformat(match[1]).replace(tzinfo=UTC) if match else None
    except ValueError:  # digits that are not a date
        return None


def region_folder(key: str) -> str:
    """Return the folder above the day folders that hold a file, "" where there are none."""
    match = _DAY_FOLDER.fullmatch(key)
    return match["folder"] if match else ""
