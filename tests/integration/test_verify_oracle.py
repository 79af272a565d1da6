"""The trail that the tests sign, judged by AWS's own command: valid here means valid there.

`make oracle` installs the AWS CLI into an environment of its own and runs this file; its pins differ from ours.
"""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from tests.integration.test_second_stand_in import moto
from tests.support.http_server import serving
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


@contextmanager
def cloudtrail(trail: SignedTrail) -> Iterator[str]:
    """The two calls of CloudTrail's API that the command makes."""
    days = timedelta(days=9)
    key = public_key(validity_start_time=trail.ended_at - days, validity_end_time=trail.ended_at + days)
    listed = {
        "Value": b64encode(key.value).decode(),
        "Fingerprint": key.fingerprint,
        "ValidityStartTime": key.validity_start_time.timestamp(),
        "ValidityEndTime": key.validity_end_time.timestamp(),
    }
    described = {
        "Name": trail.trail,
        "S3BucketName": BUCKET,
        "HomeRegion": trail.home,
        "TrailARN": arn(trail),
        "IsOrganizationTrail": False,
        "LogFileValidationEnabled": True,
    }

    def serve(_method: str, _target: str, headers: dict[str, str], _body: bytes) -> tuple[int, bytes, dict[str, str]]:
        operation = {name.lower(): value for name, value in headers.items()}["x-amz-target"].rpartition(".")[2]
        answers: dict[str, Any] = {
            "ListPublicKeys": {"PublicKeyList": [listed]},
            "DescribeTrails": {"trailList": [described]},
        }
        return 200, json.dumps(answers[operation]).encode(), {"Content-Type": "application/x-amz-json-1.1"}

    with serving(serve) as url:
        yield url


def arn(trail: SignedTrail) -> str:
    return f"arn:aws:cloudtrail:{trail.home}:{trail.account}:trail/{trail.trail}"


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


# What is done to the bucket, the exit code of AWS's command, and what trailsink finds.
CASES: list[tuple[Callable[[SignedTrail], None], int, dict[str, int]]] = [
    (nothing, 0, {}),
    (newest_deleted, 0, {"digest_missing": 2}),
    (planted, 0, {"planted": 1}),
    (log_replaced, 1, {"altered": 1}),
    (log_deleted, 1, {"lost": 1}),
    (metadata_lost, 1, {"digest_altered": 1, "unsigned": 2}),
    (two_deleted, 1, {"digest_missing": 2, "unsigned": 4}),
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


def upload(s3_url: str, trail: SignedTrail, folder: Path) -> None:
    """Put the trail into a bucket, and a copy of it into a folder."""
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket=BUCKET)
    for listed in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=listed["Key"])
    for key, content in trail.objects.items():
        signature = trail.signatures.get(key, "")
        metadata = {"signature": signature, "signature-algorithm": "SHA256withRSA"} if signature else {}
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
            [*command, *times], capture_output=True, text=True, timeout=120, check=False, env=environment
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
    assert result.exit_code in (0, 1), result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary
