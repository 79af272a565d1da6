"""The trail that the tests sign, judged by AWS's own command: valid here means valid there.

`make oracle` installs the AWS CLI into an environment of its own and runs this file; its pins differ from ours.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from tests.integration.test_second_stand_in import moto
from tests.support.cloudtrail_api import arn, cloudtrail
from tests.support.signed_trail import SignedTrail, public_key
from worker.cli.main import main
from worker.verify.keys import write_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLI = Path(os.environ.get("TRAILSINK_TEST_AWS_CLI") or Path(__file__).parents[2] / ".local" / "aws-cli" / "bin" / "aws")
BUCKET = "oracle-trail"

pytestmark = pytest.mark.skipif(
    not CLI.exists(), reason="the AWS CLI is not in .local/aws-cli: make oracle installs it"
)


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with moto() as url:
        yield url


def nothing(_: SignedTrail) -> None:
    """Leave the trail as it is."""


def newest_deleted(trail: SignedTrail) -> None:
    trail.delete(*trail.digests[-2:], *trail.logs[-4:])


def planted(trail: SignedTrail) -> None:
    trail.log(trail.ended_at - timedelta(hours=3, minutes=7), name="planted")


def log_replaced(trail: SignedTrail) -> None:
    trail.objects[trail.logs[5]] = trail.objects[trail.logs[4]]


def log_deleted(trail: SignedTrail) -> None:
    trail.delete(trail.logs[5])


def metadata_lost(trail: SignedTrail) -> None:
    trail.signatures[trail.digests[-1]] = "00"


def two_deleted(trail: SignedTrail) -> None:
    trail.delete(*trail.digests[3:5])


def everything_deleted(trail: SignedTrail) -> None:
    trail.delete(*trail.digests, *trail.logs)


def all_digests_deleted(trail: SignedTrail) -> None:
    trail.delete(*trail.digests)


def oldest_deleted(trail: SignedTrail) -> None:
    trail.delete(*trail.digests[:4], *trail.logs[:8])


def validation_switched_off(trail: SignedTrail) -> None:
    trail.delete(*trail.digests[-3:], *trail.logs[-6:])
    trail.ended_at -= timedelta(hours=3)
    trail.pause(2)
    trail.log(trail.ended_at - timedelta(hours=1))
    trail.hour(start=True)


def member_appended(trail: SignedTrail) -> None:
    trail.objects[trail.logs[5]] += gzip.compress(b'{"Records":[]}')


def digests_swapped(trail: SignedTrail) -> None:
    first, second = trail.digests[3:5]
    trail.objects[first], trail.objects[second] = trail.objects[second], trail.objects[first]


def digest_changed(trail: SignedTrail) -> None:
    key = trail.digests[3]
    trail.objects[key] = gzip.compress(gzip.decompress(trail.objects[key]).replace(b"SHA-256", b"SHA-255", 1))


def backfill_digest(trail: SignedTrail) -> None:
    begin = trail.ended_at - timedelta(hours=6)
    late = trail.log(begin + timedelta(minutes=30))
    trail.digest(begin, begin + timedelta(hours=1), [late], start=False, backfill=True)


def second_trail(trail: SignedTrail) -> None:
    other = SignedTrail(bucket=BUCKET, region=trail.region, home=trail.home, trail="other", _number=500)
    other.ended_at = trail.ended_at - timedelta(hours=8)
    other.hours(8)
    trail.objects |= other.objects
    trail.signatures |= other.signatures


# What is done to the bucket, the exit code of AWS's command, and what trailsink finds.
CASES: list[tuple[Callable[[SignedTrail], None], int, dict[str, int]]] = [
    (nothing, 0, {}),
    (newest_deleted, 0, {"digest_missing": 2}),
    (planted, 0, {"planted": 1}),
    (log_replaced, 1, {"altered": 1}),
    (log_deleted, 1, {"lost": 1}),
    (metadata_lost, 1, {"digest_altered": 1, "unsigned": 2}),
    (two_deleted, 1, {"digest_missing": 2, "unsigned": 4}),
    (everything_deleted, 0, {}),
    (all_digests_deleted, 0, {"unsigned": 14, "not_covered": 2}),
    (oldest_deleted, 1, {"digest_missing": 1}),
    (validation_switched_off, 0, {"validation_off": 2, "unsigned": 1}),
    (member_appended, 1, {"altered": 1}),
    (digests_swapped, 1, {"digest_altered": 2, "digest_missing": 1, "unsigned": 4}),
    (digest_changed, 1, {"digest_altered": 1, "unsigned": 2}),
    (backfill_digest, 0, {}),
    (second_trail, 0, {}),
]


@pytest.mark.parametrize(("mutate", "exit_code", "faults"), CASES, ids=[case[0].__name__ for case in CASES])
def test_what_aws_calls_valid_is_valid(
    s3_url: str,
    tmp_path: Path,
    mutate: Callable[[SignedTrail], None],
    exit_code: int,
    faults: dict[str, int],
) -> None:
    """So the tests sign as CloudTrail does; and where AWS's command is content, trailsink need not be."""
    trail = SignedTrail(bucket=BUCKET, region="us-east-1", home="us-east-1")
    trail.ended_at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=10)
    started = trail.ended_at
    trail.hours(8)
    mutate(trail)
    folder = tmp_path / "copy"
    upload(s3_url, trail, folder)

    oracle = validate(s3_url, trail, started)
    own = verify_copy(tmp_path, folder, trail)

    assert oracle.returncode == exit_code, oracle.stdout + oracle.stderr
    assert {name: number for name, number in own["states"].items() if name != "verified"} == faults
    assert own["complete"] == (not faults and mutate is not everything_deleted)


def upload(s3_url: str, trail: SignedTrail, folder: Path) -> None:
    """Put the trail into a bucket, and a copy of it into a folder."""
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket=BUCKET)
    (folder / "AWSLogs").mkdir(parents=True)
    for listed in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=listed["Key"])
    for key, content in trail.objects.items():
        signature = trail.signatures.get(key, "")
        metadata = {"signature": signature, "signature-algorithm": "SHA256withRSA"} if signature else {}
        if key.endswith("_backfill.json.gz"):
            metadata["backfill-generation-timestamp"] = f"{trail.ended_at:%Y-%m-%dT%H:%M:%SZ}"
        client.put_object(Bucket=BUCKET, Key=key, Body=content, Metadata=metadata)
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if signature:
            path.with_name(f"{path.name}.signature").write_text(signature)


def validate(s3_url: str, trail: SignedTrail, started: datetime) -> subprocess.CompletedProcess[str]:
    """Run AWS's command."""
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL_S3": s3_url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with cloudtrail(trail) as url:
        command = [
            str(CLI),
            "--endpoint-url",
            url,
            "cloudtrail",
            "validate-logs",
            "--verbose",
            "--trail-arn",
            arn(trail),
        ]
        times = ["--start-time", f"{started:%Y-%m-%dT%H:%M:%SZ}"]
        return subprocess.run(
            [*command, *times], capture_output=True, text=True, timeout=480, check=False, env=environment
        )


def verify_copy(tmp_path: Path, folder: Path, trail: SignedTrail) -> dict[str, Any]:
    """Run trailsink on the copy, offline."""
    keys = tmp_path / "keys.json"
    key = public_key(
        region="us-east-1",
        validity_start_time=trail.ended_at - timedelta(days=9),
        validity_end_time=trail.ended_at + timedelta(days=9),
    )
    write_keys(keys, [key])
    words = ["verify", "--local", str(folder), "--keys", str(keys), "--json"]
    result = CliRunner().invoke(main, words, env={"XDG_STATE_HOME": str(tmp_path / "state")})
    assert result.exit_code in (0, 1, 3), result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary
