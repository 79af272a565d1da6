"""CloudTrail's digest files: their keys, their content, and the text that their signatures sign.

docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from worker.cloudtrail.inflate import inflate
from worker.errors import UnreadableObject

KIND = "CloudTrail-Digest"

# A trail's name may hold underscores: the region ends with the first one, the home region begins after the last.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-trail-naming-requirements.html
_NAME = re.compile(
    r"(?P<account>[0-9]{12})_CloudTrail-Digest_(?P<region>[a-z0-9-]+)_(?P<trail>.+)_(?P<home>[a-z0-9-]+)"
    r"_(?P<time>[0-9]{8}T[0-9]{6}Z)(?P<backfill>_backfill)?\.json\.gz"
)

# The largest digest names some thousand files, of 400 bytes each.
MAX_DIGEST_BYTES = 64 << 20


class Chain(msgspec.Struct, frozen=True, order=True):
    """What one chain of digests is of: an account, a region, and a trail with its home region."""

    account: str
    region: str
    trail: str
    home: str
    backfill: bool = False

    def __str__(self) -> str:
        backfill = ", backfill" if self.backfill else ""
        return f"{self.account} {self.region} {self.trail} ({self.home}{backfill})"


class DigestKey(msgspec.Struct, frozen=True):
    """A digest's key, its chain, and when its interval ended."""

    key: str
    chain: Chain
    ended_at: datetime


class SignedFile(msgspec.Struct, frozen=True, rename="camel"):
    """A log file that a digest names."""

    s3_bucket: str = msgspec.field(name="s3Bucket")
    s3_object: str = msgspec.field(name="s3Object")
    hash_value: str


class Digest(msgspec.Struct, frozen=True, rename="camel"):
    """The content of a digest. The members of the previous one are None in the first of a chain."""

    digest_start_time: str
    digest_end_time: str
    digest_s3_bucket: str = msgspec.field(name="digestS3Bucket")
    digest_s3_object: str = msgspec.field(name="digestS3Object")
    digest_public_key_fingerprint: str
    log_files: list[SignedFile]
    digest_signature_algorithm: str = ""
    previous_digest_s3_bucket: str | None = msgspec.field(name="previousDigestS3Bucket", default=None)
    previous_digest_s3_object: str | None = msgspec.field(name="previousDigestS3Object", default=None)
    previous_digest_hash_value: str | None = None
    previous_digest_signature: str | None = None

    @property
    def started_at(self) -> datetime:
        """The start of the interval."""
        return datetime.fromisoformat(self.digest_start_time)

    @property
    def ended_at(self) -> datetime:
        """The end of the interval."""
        return datetime.fromisoformat(self.digest_end_time)

    @property
    def starts_chain(self) -> bool:
        """Whether it is the first after validation was switched on."""
        return not self.previous_digest_s3_object

    def text_to_sign(self, sha256: str) -> bytes:
        """Return what the signature signs; `sha256` is that of the digest's own inflated bytes.

        docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-custom-validation.html
        """
        place = f"{self.digest_s3_bucket}/{self.digest_s3_object}"
        previous = self.previous_digest_signature or "null"
        return f"{self.digest_end_time}\n{place}\n{sha256}\n{previous}".encode()


_DECODE = msgspec.json.Decoder(Digest).decode


def parse_digest_key(key: str) -> DigestKey | None:
    """Parse the key of a digest; None when it is not one."""
    match = _NAME.fullmatch(key.rpartition("/")[2])
    if match is None:
        return None
    try:
        ended_at = datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:  # digits that are not a date
        return None
    chain = Chain(match["account"], match["region"], match["trail"], match["home"], bool(match["backfill"]))
    return DigestKey(key, chain, ended_at)


def parse_digest(stored: bytes | bytearray) -> tuple[Digest, str]:
    """Parse the stored bytes of a digest; returns it and the SHA-256 of its inflated bytes.

    Raises ValueError, whose text says what is wrong.
    """
    try:
        text = inflate(stored, MAX_DIGEST_BYTES)
        digest = _DECODE(text.content)
        digest.started_at, digest.ended_at  # noqa: B018 - both must be times
    except UnreadableObject as error:
        raise ValueError(f"cannot be read: {error.reason}") from error
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ValueError("is not a digest") from error
    if text.truncated:
        raise ValueError("cannot be read: truncated")
    return digest, text.sha256
