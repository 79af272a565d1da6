"""A trail with digests, signed as CloudTrail signs them, with a key of the tests' own."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.factories import ACCOUNT, NOW, event, file_text
from tests.support.fakes import MemoryBucket
from worker.backfill.selection import Selection
from worker.errors import Reason, UnreadableObject
from worker.pipeline.objects import FetchedObject
from worker.verify.join import Judge
from worker.verify.keys import KeyRing, PublicKey
from worker.verify.report import FIRST_HASH, ChainedReport
from worker.verify.run import Progress, Verification

if TYPE_CHECKING:
    from pathlib import Path

    from worker.verify.states import VerifyTotals

BUCKET = "trail-bucket"
REGION = "eu-central-1"
START = datetime(2026, 11, 22, 22, 49, 11, tzinfo=UTC)
HOUR = timedelta(hours=1)


@cache
def private_key(number: int = 0) -> rsa.RSAPrivateKey:
    """A key; making one takes a moment."""
    del number
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_key(number: int = 0, *, region: str = REGION, spki: bool = False, **changes: Any) -> PublicKey:
    """The public half as CloudTrail lists it: PKCS#1, or SubjectPublicKeyInfo."""
    layout = PublicFormat.SubjectPublicKeyInfo if spki else PublicFormat.PKCS1
    der = private_key(number).public_key().public_bytes(Encoding.DER, layout)
    members: dict[str, Any] = {
        "fingerprint": hashlib.md5(der, usedforsecurity=False).hexdigest(),
        "value": der,
        "validity_start_time": START - timedelta(days=10),
        "validity_end_time": START + timedelta(days=20),
        "region": region,
    }
    return PublicKey(**(members | changes))


@dataclass
class SignedTrail:
    """One chain in a bucket of memory: each hour has a digest, and the log files that it names.

    `objects` are stored bytes by key, `signatures` what S3's metadata holds. `org` and `prefix` change the layout.
    """

    account: str = ACCOUNT
    region: str = REGION
    trail: str = "all_events.v1"
    home: str = REGION
    bucket: str = BUCKET
    prefix: str = ""
    org: str = ""
    key: int = 0
    spki: bool = False
    objects: dict[str, bytes] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    ended_at: datetime = START
    _previous: tuple[str, str, str, str] | None = None
    _number: int = 0

    @property
    def root(self) -> str:
        organisation = f"{self.org}/" if self.org else ""
        return f"{self.prefix}AWSLogs/{organisation}{self.account}/"

    def log(self, delivered: datetime, *, kind: str = "CloudTrail", events: int = 2, name: str = "") -> str:
        """Put a log file into the bucket; returns its key."""
        self._number += 1
        records = [
            event(100 * self._number + number, eventTime=f"{delivered:%Y-%m-%dT%H:%M:%SZ}") for number in range(events)
        ]
        name = name or f"file{self._number:06d}"
        key = (
            f"{self.root}{kind}/{self.region}/{delivered:%Y/%m/%d}/"
            f"{self.account}_{kind}_{self.region}_{delivered:%Y%m%dT%H%MZ}_{name}.json.gz"
        )
        self.objects[key] = gzip.compress(file_text(*records), mtime=0)
        return key

    def hour(self, logs: int = 2, *, start: bool = False, backfill: bool = False) -> str:
        """Deliver some log files, and the digest of their hour."""
        begin, end = self.ended_at, self.ended_at + HOUR
        keys = [self.log(begin + timedelta(minutes=5 + 10 * number)) for number in range(logs)]
        self.logs += keys
        self.ended_at = end
        return self.digest(begin, end, keys, start=start, backfill=backfill)

    def hours(self, number: int, logs: int = 2) -> SignedTrail:
        """Deliver some hours."""
        for _ in range(number):
            self.hour(logs)
        return self

    def pause(self, hours: int) -> None:
        """Switch validation off for some hours; the next digest starts the chain again."""
        self.ended_at += hours * HOUR
        self._previous = None

    def digest(self, begin: datetime, end: datetime, logs: list[str], *, start: bool, backfill: bool = False) -> str:
        """Sign a digest of these files."""
        key = (
            f"{self.root}CloudTrail-Digest/{self.region}/{end:%Y/%m/%d}/{self.account}_CloudTrail-Digest_{self.region}"
            f"_{self.trail}_{self.home}_{end:%Y%m%dT%H%M%SZ}{'_backfill' * backfill}.json.gz"
        )
        previous = None if start or backfill else self._previous
        bucket, before, digest, signature = previous or (None, None, None, None)
        content = {
            "awsAccountId": self.account,
            "digestStartTime": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
            "digestEndTime": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "digestS3Bucket": self.bucket,
            "digestS3Object": key,
            "digestPublicKeyFingerprint": public_key(self.key, spki=self.spki).fingerprint,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "newestEventTime": f"{end:%Y-%m-%dT%H:%M:%SZ}" if logs else None,
            "oldestEventTime": f"{begin:%Y-%m-%dT%H:%M:%SZ}" if logs else None,
            "previousDigestS3Bucket": bucket,
            "previousDigestS3Object": before,
            "previousDigestHashValue": digest,
            "previousDigestHashAlgorithm": "SHA-256" if previous else None,
            "previousDigestSignature": signature,
            "logFiles": [
                {
                    "s3Bucket": self.bucket,
                    "s3Object": log,
                    "hashValue": hashlib.sha256(gzip.decompress(self.objects[log])).hexdigest(),
                    "hashAlgorithm": "SHA-256",
                    "newestEventTime": f"{end:%Y-%m-%dT%H:%M:%SZ}",
                    "oldestEventTime": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
                }
                for log in logs
            ],
        }
        text = json.dumps(content, separators=(",", ":")).replace("/", "\\/").encode()  # as digests of 2023 are
        sha256 = hashlib.sha256(text).hexdigest()
        to_sign = f"{content['digestEndTime']}\n{self.bucket}/{key}\n{sha256}\n{signature or 'null'}".encode()
        own = private_key(self.key).sign(to_sign, padding.PKCS1v15(), SHA256()).hex()
        self.objects[key] = gzip.compress(text, mtime=0)
        self.signatures[key] = own
        if not backfill:
            self.digests.append(key)
            self._previous = self.bucket, key, sha256, own
        return key

    def delete(self, *keys: str) -> None:
        """Delete objects, as somebody who hides something does."""
        for key in keys:
            self.objects.pop(key)
            self.signatures.pop(key, None)

    @property
    def now(self) -> datetime:
        """A time at which the newest digest is the newest that there can be."""
        return self.ended_at + timedelta(hours=2, minutes=30)


class MemoryFiles:
    """The bucket of some trails; `reads` counts what was read."""

    def __init__(self, *trails: SignedTrail, name: str = BUCKET) -> None:
        self.name = name
        self.objects = {key: content for trail in trails for key, content in trail.objects.items()}
        self.signatures = {key: text for trail in trails for key, text in trail.signatures.items()}
        self.lister = MemoryBucket(list(self.objects))
        self.reads: list[str] = []
        self._lock = threading.Lock()

    def fetch(self, key: str, limit: int) -> FetchedObject:
        with self._lock:
            self.reads.append(key)
        if key not in self.objects:
            raise UnreadableObject(Reason.NOT_FOUND, "S3 says NoSuchKey")
        assert len(self.objects[key]) <= limit
        return FetchedObject(self.objects[key], NOW)

    def signature(self, key: str) -> str:
        return self.signatures.get(key, "")

    def exists(self, key: str) -> bool:
        return key in self.objects


def verify(  # noqa: PLR0913 - what a test may change
    *trails: SignedTrail,
    now: datetime | None = None,
    judge: Judge | None = None,
    keys: KeyRing | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    report: Path | None = None,
    progress: Progress | None = None,
    name: str = BUCKET,
    workers: int = 2,
) -> VerifyTotals:
    """Verify the bucket of some trails."""
    moment = now or max(trail.now for trail in trails)
    files = MemoryFiles(*trails, name=name)
    listed = [public_key(number, spki=spki) for number in range(2) for spki in (False, True)]
    progress = progress or Progress(report_hash=FIRST_HASH)
    verification = Verification(
        files,
        keys or KeyRing(listed),
        judge or Judge(1 << 20),
        Selection(until or moment, since),
        now=moment,
        progress=progress,
        report=ChainedReport(report, progress.report_bytes, progress.report_hash),
        stop=threading.Event(),
    )
    for _ in verification.run(sorted({f"{trail.prefix}AWSLogs/" for trail in trails}), workers):
        pass
    return verification.totals
