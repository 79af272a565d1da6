"""S3 over HTTP, as far as ownership goes: each bucket has an owner, and a request may name the one that it expects."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from tests.support.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.http_server import Given

ACCOUNT, STRANGER = "111122223333", "666666666666"
OWNER = "x-amz-expected-bucket-owner"


@dataclass
class OwnedBuckets:
    """Buckets with owners and objects, for a caller who is `ACCOUNT`; another account's bucket lets the caller in.

    That is what a trap looks like: its policy allows everything. Only the owner condition keeps the caller out.
    """

    region: str = "eu-central-1"
    owners: dict[str, str] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)
    objects: dict[str, dict[str, str]] = field(default_factory=dict)  # by bucket: keys with their times
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path with query, expected owner
    bodies: dict[str, bytes] = field(default_factory=dict)  # by path with query
    url: str = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Given:
        given = {name.lower(): value for name, value in headers.items()}
        parts = urlsplit(path)
        bucket, _, key = parts.path.lstrip("/").partition("/")
        self.requests.append((method, path, given.get(OWNER, "")))
        self.bodies[path] = body
        if method == "PUT" and not key and not parts.query:
            return self._create(bucket, given)
        if bucket not in self.owners:
            return _error(404, "NoSuchBucket")
        if OWNER in given and given[OWNER] != self.owners[bucket]:
            return _error(403, "AccessDenied")
        return self._serve(method, bucket, key, parse_qs(parts.query))

    def _create(self, bucket: str, headers: dict[str, str]) -> Given:
        if bucket in self.owners:
            mine = self.owners[bucket] == ACCOUNT
            return _error(409, "BucketAlreadyOwnedByYou" if mine else "BucketAlreadyExists")
        namespace = headers.get("x-amz-bucket-namespace", "global")
        if bucket.endswith("-an") != (namespace == "account-regional") or (
            bucket.endswith("-an") and not bucket.endswith(f"-{ACCOUNT}-{self.region}-an")
        ):
            return _error(400, "InvalidBucketNamespace")
        self.owners[bucket], self.namespaces[bucket], self.objects[bucket] = ACCOUNT, namespace, {}
        return 200, b"", {}

    def _serve(self, method: str, bucket: str, key: str, query: dict[str, list[str]]) -> Given:
        objects = self.objects.setdefault(bucket, {})
        if method == "PUT" and key:
            objects[key] = "2026-11-29T00:00:00Z"
        elif method == "DELETE" and key:
            objects.pop(key, None)
        elif method == "DELETE":
            if objects:
                return _error(409, "BucketNotEmpty")
            del self.owners[bucket]
        elif method == "GET":
            entries = "".join(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{time}</LastModified></Contents>"
                for name, time in objects.items()
                if name.startswith(query.get("prefix", [""])[0])
            )
            return 200, f"<ListBucketResult>{entries}</ListBucketResult>".encode(), {}
        return (204 if method == "DELETE" else 200), b"", {}


@contextmanager
def owned_buckets(region: str = "eu-central-1") -> Iterator[OwnedBuckets]:
    """Serve an S3 without buckets; its `url` says where."""
    buckets = OwnedBuckets(region)
    with serving(buckets.answer) as buckets.url:
        yield buckets


def _error(status: int, code: str) -> Given:
    return status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode(), {}
