"""The doctor, on a pipeline that is well and on ones that are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.making import event, log_file

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Bench

TRAILSINK = Path(sys.executable).with_name("trailsink")


def examine() -> tuple[int, dict[str, dict[str, str]]]:
    """Run the command; its exit code, and the findings by check."""
    done = subprocess.run([TRAILSINK, "doctor", "--json"], capture_output=True, text=True, timeout=60, check=False)
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {one["check"]: one for one in findings}


def test_a_pipeline_that_is_well_has_no_fault(bench: Bench) -> None:
    """What the local stack lacks is not checked, and said so; nothing is a fault."""
    bench.put("one.json.gz", log_file(event()))
    subprocess.run([TRAILSINK, "run", "--until-idle", "--timeout", "60"], capture_output=True, timeout=90, check=True)
    assert bench.count() == 1  # which refreshes

    code, found = examine()

    assert code == 0
    assert {name for name, one in found.items() if one["verdict"] == "fault"} == set()
    for check in ("redrive policy", "redrive allow policy", "dead letters", "bucket notification", "index template"):
        assert found[check]["verdict"] == "ok", found[check]
    assert found["newest event"]["verdict"] == "ok"
    assert found["event source mapping"]["verdict"] == "not checked"


def test_what_is_wrong_is_named_with_its_fix(bench: Bench) -> None:
    """An engineer at night reads the fix first."""
    settings = bench.settings
    bench.sqs.set_queue_attributes(
        QueueUrl=settings.queue_url, Attributes={"RedrivePolicy": "", "KmsMasterKeyId": "alias/aws/sqs"}
    )
    bench.s3.put_bucket_notification_configuration(Bucket=settings.bucket, NotificationConfiguration={})
    bench.opensearch.indices.put_index_template(
        name=f"trailsink-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-*"]}
    )
    bench.sqs.send_message(QueueUrl=settings.dead_letter_queue_url, MessageBody="{}")

    code, found = examine()

    assert code == 1
    faults = {name for name, one in found.items() if one["verdict"] == "fault"}
    assert faults == {"redrive policy", "queue encryption", "bucket notification", "index template"}
    assert all(found[name]["fix"] for name in faults)
    assert found["dead letters"]["fix"] == "trailsink dlq list"


def test_what_cannot_be_reached_harms_no_other_check(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a pipeline is when a doctor is called."""
    assert bench.prefix
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "http://127.0.0.1:9")

    code, found = examine()

    assert code == 0
    assert found["cluster"]["verdict"] == "not checked"
    assert found["redrive policy"]["verdict"] == "ok"
