"""The two calls of CloudTrail's API that proofs need, answered for a trail that the tests signed."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.support.http_server import serving
from tests.support.signed_trail import SignedTrail, public_key

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def cloudtrail(trail: SignedTrail) -> Iterator[str]:
    """The address of an API that knows this trail, and the key that it was signed with."""
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
        "S3BucketName": trail.bucket,
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
