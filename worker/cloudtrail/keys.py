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
_TREE = rf"AWSLogs/(?:(?P<org>{ORGANISATION.pattern})/)?"
_LAYOUT = rf"{_TREE}(?P<account>{ACCOUNT.pattern})/(?P<kind>[^/]+)/"
_BELOW_TREE = rf"(?:(?P<org>{ORGANISATION.pattern})/)?(?P<account>{ACCOUNT.pattern})/(?P<kind>[^/]+)/"
# The last match counts: a copy may lie below a folder of the same layout.
_BELOW_ANY_PREFIX = re.compile(rf"(?:.*/)?{_LAYOUT}", re.DOTALL)
_LOG_FILE = re.compile(
    rf"{_BELOW_TREE}(?P<region>[^/]+)/(?P<year>[0-9]{{4}})/(?P<month>[0-9]{{2}})/(?P<day>[0-9]{{2}})/.*[^/]", re.DOTALL
)
_DAY_FOLDER = re.compile(r"(?P<folder>.*/)[0-9]{4}/[0-9]{2}/[0-9]{2}/[^/]+", re.DOTALL)
_DELIVERED = re.compile(r"_([0-9]{8}T[0-9]{4})Z_[^/]+$")

# The name that CloudTrail gives a log file, in whatever folder a copy of it lies.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html
_LOG_FILE_NAME = re.compile(
    rf"(?:.*/)?(?P<account>{ACCOUNT.pattern})_(?P<kind>{'|'.join(KINDS)})_(?P<region>[a-z0-9-]+)"
    r"_(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})T[0-9]{4}Z_[^/]+",
    re.DOTALL,
)
# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
_DIGEST_NAME = "_CloudTrail-Digest_"

# Services that partition by Hive's rules name themselves in a folder.
# docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html
_HIVE_SERVICE = re.compile(rf"(?:.*/)?{_TREE}aws-account-id={ACCOUNT.pattern}/aws-service=(?P<kind>[^/]+)/", re.DOTALL)
# Files that services write into an account's folder to try whether they may.
# docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
_TEST_FILE = re.compile(rf"(?:.*/)?{_TREE}{ACCOUNT.pattern}/(?P<kind>[A-Za-z]+(?:Test|Check)File)", re.DOTALL)

# What CloudTrail Lake saves of a query: tables, and a signature. A copy of a log file may lie there, too.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-find-lake-query-results.html
_LAKE = "CloudTrail-Lake"

# Empty objects that stand for a folder, a lock or a finished job: a console's `folder/`, Hadoop's `folder_$folder$` and
# `_SUCCESS`, `.emptyDir`, `.keep`. One that is named like a file with content is no marker.
_MARKER = re.compile(r"(?:.*/)?(?:|[^/]*_\$folder\$|[._](?![^/]*\.(?:json|gz)$)[^/]*)", re.DOTALL | re.IGNORECASE)

# A folder is named by whoever writes it, and its name goes into the log.
_MAX_NAME = 40
_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{_MAX_NAME}}}")


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
    # An empty object holds no events. One with content is somebody's file, whatever its name.
    if size == 0 and is_marker(key):
        return Ignored("folder_marker")
    # A copy of a log file may lie in any folder, so its own name goes before its folder's.
    if name := _LOG_FILE_NAME.fullmatch(key):
        return LogFile(name["kind"], delivered_at(key))
    layout = _BELOW_ANY_PREFIX.match(key)
    kind = layout["kind"] if layout else "unknown"
    if kind == "CloudTrail-Digest" or _DIGEST_NAME in key.rpartition("/")[2]:
        return Ignored("digest")
    if service := _other_service(key, kind):
        return Ignored(f"service_{service if _NAME.fullmatch(service) else 'other'}")
    return LogFile(kind, delivered_at(key))


def _other_service(key: str, kind: str) -> str:
    """Return the name of the service that wrote a file below AWSLogs/, "" for CloudTrail or where the key has none.

    `kind` is the folder below the account's, "unknown" where there is none. A list of services would never end.
    CloudTrail's own folders begin with its name.
    """
    if kind != "unknown":
        return "" if kind.startswith("CloudTrail") else kind
    match = _HIVE_SERVICE.match(key) or _TEST_FILE.fullmatch(key)
    return "" if match is None or match["kind"].lower().startswith("cloudtrail") else match["kind"]


def is_marker(key: str) -> bool:
    """Return whether an object of this key is no file if it is empty: a marker of a folder, or of a tool."""
    return bool(_MARKER.fullmatch(key))


def is_query_result(key: str) -> bool:
    """Return whether a key is among the query results that CloudTrail Lake saves."""
    layout = _BELOW_ANY_PREFIX.match(key)
    return layout is not None and layout["kind"] == _LAKE


def parse_key(key: str, tree: str) -> FileKey | None:
    """Parse a key below `tree`, the folder of the accounts; None when it is not a CloudTrail log file."""
    match = _LOG_FILE.fullmatch(key, len(tree)) if key.startswith(tree) else None
    if match is None or match["kind"] not in KINDS:
        return None
    return _file_key(match, match["org"] or "", key)


def parse_name(key: str) -> FileKey | None:
    """Parse the name that CloudTrail gave a file, in whatever folder it lies; None when it is not a log file's."""
    match = _LOG_FILE_NAME.fullmatch(key)
    return _file_key(match, "", key) if match else None


def _file_key(match: re.Match[str], org: str, key: str) -> FileKey | None:
    try:
        day = date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:  # digits that are not a date
        return None
    return FileKey(org, match["account"], match["kind"], match["region"], day, delivered_at(key))


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
