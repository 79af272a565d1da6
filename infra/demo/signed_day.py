"""Signs the demo's files as CloudTrail does: a digest for each hour, with a key of the demo's own."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from worker.cloudtrail.keys import delivered_at
from worker.verify.keys import PublicKey, write_keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from types_boto3_s3 import S3Client

_TRAIL, _REGION = "demo", "us-east-1"
_FIRST, _HOURS = datetime(2023, 7, 10, 10, 49, 11, tzinfo=UTC), 5
_HOUR = timedelta(hours=1)


def sign_day(client: S3Client, bucket: str, prefix: str, keys: Path, *, leave_out: str) -> list[str]:
    """Put digests of the files below a prefix into the bucket, and write a file of public keys.

    Returns the keys of the files that were signed: not of those that contain `leave_out`.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    public = PublicKey(
        fingerprint=md5(der, usedforsecurity=False).hexdigest(),  # as CloudTrail names its keys
        value=der,
        validity_start_time=_FIRST - timedelta(days=15),
        validity_end_time=_FIRST + timedelta(days=15),
        region=_REGION,
    )
    contents = {
        entry["Key"]: gzip.decompress(client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
        for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
        if leave_out not in entry["Key"]
    }
    previous: dict[str, Any] = {}
    for hour in range(_HOURS):
        previous = _put_digest(client, bucket, key, public.fingerprint, contents, _FIRST + hour * _HOUR, previous)
    write_keys(keys, [public])
    return sorted(contents)


def _put_digest(  # noqa: PLR0913, PLR0917 - what a digest holds
    client: S3Client,
    bucket: str,
    key: rsa.RSAPrivateKey,
    fingerprint: str,
    contents: Mapping[str, bytes],
    start: datetime,
    previous: Mapping[str, Any],
) -> dict[str, Any]:
    """Sign and upload the digest of one hour; returns what the next one holds of it."""
    end = start + _HOUR
    names = [name for name in sorted(contents) if start <= (delivered_at(name) or end) < end]
    account = next(iter(contents)).split("/")[1]
    digest_key = (
        f"AWSLogs/{account}/CloudTrail-Digest/{_REGION}/{end:%Y/%m/%d}/{account}_CloudTrail-Digest_{_REGION}_{_TRAIL}"
        f"_{_REGION}_{end:%Y%m%dT%H%M%SZ}.json.gz"
    )
    files = [{"s3Bucket": bucket, "s3Object": name, "hashValue": sha256(contents[name]).hexdigest()} for name in names]
    content = {
        "awsAccountId": account,
        "digestStartTime": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "digestEndTime": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        "digestS3Bucket": bucket,
        "digestS3Object": digest_key,
        "digestPublicKeyFingerprint": fingerprint,
        "digestSignatureAlgorithm": "SHA256withRSA",
        **{f"previousDigest{name}": previous.get(name) for name in ("S3Bucket", "S3Object", "HashValue", "Signature")},
        "logFiles": files,
    }
    text = json.dumps(content).encode()
    to_sign = (
        f"{content['digestEndTime']}\n{bucket}/{digest_key}\n{sha256(text).hexdigest()}\n"
        f"{previous.get('Signature') or 'null'}"
    )
    signature = key.sign(to_sign.encode(), padding.PKCS1v15(), SHA256()).hex()
    client.put_object(
        Bucket=bucket, Key=digest_key, Body=gzip.compress(text, mtime=0), Metadata={"signature": signature}
    )
    return {"S3Bucket": bucket, "S3Object": digest_key, "HashValue": sha256(text).hexdigest(), "Signature": signature}
