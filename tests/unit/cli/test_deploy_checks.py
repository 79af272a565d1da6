"""Promises about what `trailsink deploy` looks at before it uploads; tests/integration/test_deploy.py has the rest."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from tests.support.opensearch_server import connected
from worker.cli.deploy_checks import check_deployment
from worker.deploy.account import Account
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

OBJECT = {"FiltersBucket": "acme-config", "FiltersKey": "noise.json"}


@pytest.fixture
def s3() -> Iterator[S3Client]:
    with mock_aws():
        client: S3Client = boto3.client("s3")
        client.create_bucket(Bucket="acme-config", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield client


def put(s3: S3Client, field: str, *values: str) -> None:
    document = [{"Name": "noise", "FieldSelectors": [{"Field": field, "Equals": values}]}]
    s3.put_object(Bucket="acme-config", Key="noise.json", Body=json.dumps(document).encode())


def check(parameters: dict[str, str], existing: dict[str, str]) -> None:
    check_deployment(Account(boto3.Session()), "trailsink", parameters, existing, is_new=False)


def test_a_filter_is_shown_before_it_is_deployed(s3: S3Client, capsys: pytest.CaptureFixture[str]) -> None:
    """Its digest is what the ledger will hold."""
    put(s3, "eventName", "Decrypt")

    check(OBJECT, {})
    check({"FiltersKey": "noise.json"}, {"FiltersBucket": "acme-config", "FiltersKey": "other.json"})

    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith("Filters: 1 selector of digest ")
    assert first.endswith(": 'noise'.")


def test_a_filter_that_the_function_would_refuse_is_refused_here(s3: S3Client) -> None:
    """The function would load nothing: every message would go back."""
    put(s3, "eventname", "Decrypt")
    with pytest.raises(SetupError, match="did you mean eventName"):
        check(OBJECT, {})
    put(s3, "eventCategory", "Management", "Data")
    with pytest.raises(SetupError, match="every event of CloudTrail files"):
        check(OBJECT, {})
    s3.delete_object(Bucket="acme-config", Key="noise.json")
    with pytest.raises(SetupError, match="NoSuchKey"):
        check(OBJECT, {})


def test_a_filter_that_is_taken_away_or_not_changed_is_not_read(s3: S3Client) -> None:
    """Its object may be gone by then."""
    del s3
    check({"FiltersBucket": "", "FiltersKey": ""}, OBJECT)
    check({"RetentionDays": "30"}, OBJECT)


@pytest.mark.parametrize(
    ("index", "template", "partition", "is_refused"),
    [
        ("audit-2026-03-01", "", "month", True),
        ("audit-2026-03", "", "day", True),
        ("audit-2026-03-01", "", "day", False),
        ("audit-insights", "", "month", False),
        ("audit-2026-03-01", "month", "month", False),  # `setup --force` has changed it on purpose
        ("audit-insights", "month", "day", True),
    ],
)
@pytest.mark.usefixtures("s3")
def test_another_partition_than_the_indices_have_is_refused(
    index: str, template: str, partition: str, *, is_refused: bool
) -> None:
    """An operator sets the cluster up, so no function looks: what S3 announces again would be there twice."""

    def answer(_method: str, path: str, *_: Any) -> tuple[int, Any]:
        if path.startswith("/_cat/indices"):
            return 200, [{"index": index}]
        if path.startswith("/_index_template"):
            found = {"name": "trailsink-audit", "index_template": {"_meta": {"partition": template}}}
            return 200, {"index_templates": [found]}
        return 200, {"version": {"distribution": "opensearch", "number": "3.4.0"}}

    with connected(answer) as client:
        known: Any = next(iter(client.transport.hosts))
        existing = {"EndpointUrl": f"http://{known['host']}:{known['port']}", "IndexPrefix": "audit"}
        with pytest.raises(SetupError, match="second time") if is_refused else nullcontext():
            check({"IndexPartition": partition}, existing)


@pytest.mark.parametrize("parameters", [{"TrailPrefix": "AWSLogs/"}, {"NotificationSource": "S3"}])
def test_a_notification_in_the_way_is_said_whatever_moves_ours(s3: S3Client, parameters: dict[str, str]) -> None:
    """Without --bucket, it was said by a rollback."""
    topic = "arn:aws:sns:eu-central-1:123456789012:siem"
    s3.put_bucket_notification_configuration(
        Bucket="acme-config",
        NotificationConfiguration={"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]},
    )

    with pytest.raises(SetupError, match="has a notification in the way"):
        check(parameters, {"TrailBucketName": "acme-config", "NotificationSource": "S3"})
    check({"RetentionDays": "31"}, {"TrailBucketName": "acme-config", "NotificationSource": "S3"})
