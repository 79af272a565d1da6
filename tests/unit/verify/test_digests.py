"""Promises about digest files: their names are parsed from both ends, and their bytes are what is signed."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.factories import packed
from worker.verify.digests import Chain, parse_digest, parse_digest_key

DATA = Path(__file__).parents[2] / "data"
FOLDER = "AWSLogs/112280397275/CloudTrail-Digest/us-east-1/2019/11/08"
NAME = (
    "112280397275_CloudTrail-Digest_us-east-1_cloudtrail-log-analytics-CloudTrail-1KU5PJNR4T9HG_us-east-1"
    "_20191108T164911Z.json.gz"
)


def test_a_real_digest_is_parsed_and_hashed() -> None:
    """As CloudTrail wrote it in 2019: the hash is of its own bytes, since it may be written in more than one way."""
    stored = (DATA / FOLDER / NAME).read_bytes()

    digest, digest_hash = parse_digest(stored)
    key = parse_digest_key(f"{FOLDER}/{NAME}")

    assert digest_hash == sha256(gzip.decompress(stored)).hexdigest()
    assert digest.digest_s3_object == f"{FOLDER}/{NAME}"
    assert digest.started_at == datetime(2019, 11, 8, 15, 49, 11, tzinfo=UTC)
    assert len(digest.log_files) == len(json.loads(gzip.decompress(stored))["logFiles"]) > 0
    assert not digest.starts_chain
    assert key is not None
    assert key.chain == Chain(
        "112280397275", "us-east-1", "cloudtrail-log-analytics-CloudTrail-1KU5PJNR4T9HG", "us-east-1"
    )
    assert key.ended_at == digest.ended_at


@pytest.mark.parametrize("trail", ["a", "a_b_c", "a-b.c_us-east-1", "_"])
def test_a_trail_s_name_may_hold_what_separates_the_parts(trail: str) -> None:
    """AWS allows underscores, dots and dashes in it."""
    name = f"123456789012_CloudTrail-Digest_eu-west-1_{trail}_us-east-1_20261123T104911Z"

    key, backfill = parse_digest_key(f"x/{name}.json.gz"), parse_digest_key(f"{name}_backfill.json.gz")

    assert key is not None
    assert key.chain == Chain("123456789012", "eu-west-1", trail, "us-east-1")
    assert backfill is not None
    assert backfill.chain.backfill


@pytest.mark.parametrize(
    "name",
    [
        "123456789012_CloudTrail_eu-west-1_20261123T1049Z_abc.json.gz",
        "123456789012_CloudTrail-Digest_eu-west-1_t_us-east-1_20261323T104911Z.json.gz",
        "12345_CloudTrail-Digest_eu-west-1_t_us-east-1_20261123T104911Z.json.gz",
        "",
    ],
)
def test_other_keys_are_no_digests(name: str) -> None:
    """A log file, a day that does not exist, an account of five digits."""
    assert parse_digest_key(name) is None


@pytest.mark.parametrize(
    "stored",
    [b"", b"no gzip", packed(b"{}"), packed(b'{"Records":[]}'), packed(b"{" * 20)[:-9]],
)
def test_what_is_no_digest_says_so(stored: bytes) -> None:
    """Somebody may have replaced it with anything."""
    with pytest.raises(ValueError, match=r"is not a digest|cannot be read"):
        parse_digest(stored)


def test_the_text_to_sign_is_aws_s_own() -> None:
    """Four lines: the end, the place, the hash, and the previous signature, or the word null."""
    digest, digest_hash = parse_digest((DATA / FOLDER / NAME).read_bytes())

    lines = digest.text_to_sign(digest_hash).decode().split("\n")

    assert lines[:3] == [
        "2019-11-08T16:49:11Z",
        f"cloudtrail-log-analytics-s3bucket-1wq1mer0z4wte/{FOLDER}/{NAME}",
        digest_hash,
    ]
    assert lines[3] == digest.previous_digest_signature
