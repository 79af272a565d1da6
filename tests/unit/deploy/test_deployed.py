"""Promises about a deployed stack: commands that are pointed at it use its parts, by its own outputs."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from worker.deploy.deployed import DeployedStack, describe_stack, settings_of, stack_variables
from worker.errors import SetupError

VALUES = {
    "OpensearchUrl": "https://cluster.example.com",
    "QueueUrl": "https://sqs.eu-central-1.amazonaws.com/111122223333/trail",
    "DeadLetterQueueUrl": "https://sqs.eu-central-1.amazonaws.com/111122223333/trail-dead-letters",
    "TrailBucketName": "acme-trail",
    "TrailPrefix": "o-1/AWSLogs/",
    "IndexPrefix": "audit",
    "IndexPartition": "month",
    "RetentionDays": "90",
    "ReadOnlyDays": "7",
    "Destination": "url",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the stack."""
    for name in [name for name in os.environ if name.startswith("TRAILSINK_")]:
        monkeypatch.delenv(name)


def deployed(**values: str) -> DeployedStack:
    return DeployedStack("trail", VALUES | values, "")


def test_settings_are_read_from_outputs_and_parameters() -> None:
    """Each setting under the name by which the template has it."""
    settings = settings_of(deployed())

    assert settings.opensearch_url == VALUES["OpensearchUrl"]
    assert (settings.queue_url, settings.dead_letter_queue_url) == (VALUES["QueueUrl"], VALUES["DeadLetterQueueUrl"])
    assert (settings.bucket, settings.index_prefix, settings.retention_days) == ("acme-trail", "audit", 90)
    assert settings.read_only_days == 7
    assert settings.index_partition == "month"


def test_a_value_that_a_stack_does_not_have_is_not_among_its_settings() -> None:
    """An empty string is how CloudFormation says none."""
    assert (
        deployed(IndexPartition="", RetentionDays="").settings.keys().isdisjoint({"index_partition", "retention_days"})
    )
    assert deployed().settings["trail_prefix"] == "o-1/AWSLogs/"


def test_a_retention_of_none_is_one_that_was_asked_for() -> None:
    """As a variable that is not set, `setup` left the policy that deletes."""
    assert stack_variables(deployed(RetentionDays="0"))["TRAILSINK_RETENTION_DAYS"] == "0"
    assert stack_variables(deployed(RetentionDays=""))["TRAILSINK_RETENTION_DAYS"] == ""


def test_what_a_stack_does_not_have_is_never_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell may be pointed at another pipeline, whose queue is well."""
    for name in ("QUEUE_URL", "OPENSEARCH_URL", "BUCKET", "BUCKETS", "INDEX_PREFIX", "BUCKET_ACCOUNT"):
        monkeypatch.setenv(f"TRAILSINK_{name}", "123456789012")
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "https://other.example.com")

    settings = settings_of(DeployedStack("trail", {"IndexPrefix": "audit"}, "", "ROLLBACK_COMPLETE"))

    assert (settings.queue_url, settings.opensearch_url, settings.bucket, settings.buckets) == ("", "", "", "")
    assert (settings.index_prefix, settings.bucket_account) == ("audit", "")


@pytest.mark.parametrize(
    ("destination", "service"), [("create-domain", "es"), ("domain", "es"), ("serverless", "aoss"), ("url", None)]
)
def test_the_destination_says_which_service_requests_are_signed_for(destination: str, service: str | None) -> None:
    """A host name of one's own does not."""
    assert deployed(Destination=destination).settings.get("opensearch_service") == service


@pytest.mark.parametrize(
    ("values", "secret"),
    [
        ({}, ""),
        ({"SecretArn": "arn:given"}, "arn:given"),
        ({"MasterSecretArn": "arn:created", "SecretArn": ""}, "arn:created"),
    ],
)
def test_the_secret_of_a_stack_is_used_for_its_cluster(values: dict[str, str], secret: str) -> None:
    """The one that the stack created, or that it was given."""
    stack = deployed(**values)

    assert (stack.secret, settings_of(stack).opensearch_secret_arn or "") == (secret, secret)


def test_credentials_of_the_environment_come_before_those_of_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator may have other permissions than the master user."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_SECRET_ARN", "arn:operator")

    assert settings_of(deployed(SecretArn="arn:given")).opensearch_secret_arn == "arn:operator"


@pytest.mark.parametrize(("secret", "expected"), [("arn:given", "arn:given"), ("", "")])
def test_credentials_for_another_cluster_are_not_sent_to_this_one(
    monkeypatch: pytest.MonkeyPatch, secret: str, expected: str
) -> None:
    """As after `eval "$(trailsink env --stack a)"`; then for another stack."""
    other = {"URL": "https://a.example.com", "SECRET_ARN": "arn:a", "AUTH": "none", "USERNAME": "a"}
    for name, value in other.items():
        monkeypatch.setenv(f"TRAILSINK_OPENSEARCH_{name}", value)
    monkeypatch.setenv("TRAILSINK_S3_ROLE_ARN", "arn:aws:iam::111111111111:role/a")

    settings, variables = settings_of(deployed(SecretArn=secret)), stack_variables(deployed(SecretArn=secret))

    assert (settings.opensearch_secret_arn, settings.opensearch_username, settings.s3_role_arn) == (expected, "", "")
    assert settings.opensearch_auth == "auto"
    assert variables["TRAILSINK_OPENSEARCH_SECRET_ARN"] == expected
    assert variables["TRAILSINK_OPENSEARCH_USERNAME"] == variables["TRAILSINK_S3_ROLE_ARN"] == ""


def test_a_shell_that_points_at_the_stack_keeps_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of one's own, for the cluster of this stack."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", VALUES["OpensearchUrl"])
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_SECRET_ARN", "arn:operator")

    assert settings_of(deployed(SecretArn="arn:given")).opensearch_secret_arn == "arn:operator"


@pytest.mark.parametrize(
    ("values", "environment", "auth"),
    [
        ({"Destination": "domain"}, {}, "sigv4"),
        ({"Destination": "serverless"}, {}, "sigv4"),
        ({"Destination": "url"}, {}, "auto"),
        ({"Destination": "domain", "SecretArn": "arn:given"}, {}, "auto"),
        ({"Destination": "domain"}, {"TRAILSINK_OPENSEARCH_AUTH": "none"}, "none"),
        ({"Destination": "domain"}, {"TRAILSINK_OPENSEARCH_SECRET_ARN": "arn:operator"}, "auto"),
    ],
)
def test_requests_to_a_stack_s_endpoint_are_signed_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], environment: dict[str, str], auth: str
) -> None:
    """An endpoint may have a domain name of one's own."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert settings_of(deployed(OpensearchUrl="https://logs.example.com", **values)).opensearch_auth == auth


def test_the_owner_of_a_foreign_bucket_is_read_from_the_stack() -> None:
    """Backfill reads in it, too."""
    assert settings_of(deployed(TrailBucketAccount="210987654321")).bucket_account == "210987654321"


def test_the_filter_of_the_stack_is_that_of_its_commands() -> None:
    """A backfill from a shell must leave out what the function leaves out, and a proof must know it."""
    own = deployed(FiltersBucket="acme-config", FiltersKey="a/noise.json")

    assert settings_of(own).filters == "s3://acme-config/a/noise.json"
    assert stack_variables(own)["TRAILSINK_FILTERS"] == "s3://acme-config/a/noise.json"
    assert stack_variables(deployed())["TRAILSINK_FILTERS"] == ""


class FakeCloudFormation:
    """One stack, or an error; its template may be read unless `readable` is False."""

    def __init__(self, *, error: str = "", readable: bool = True) -> None:
        self._error, self._readable = error, readable
        self.meta = type("Meta", (), {"region_name": "eu-central-1"})

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        if self._error:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": self._error}}, "DescribeStacks")
        parameters = [{"ParameterKey": "Name", "ParameterValue": "a"}, {"ParameterKey": "Both", "ParameterValue": "a"}]
        return {"Stacks": [{"Parameters": parameters, "Outputs": [{"OutputKey": "Both", "OutputValue": "b"}]}]}

    def get_template(self, **_: str) -> dict[str, Any]:
        if not self._readable:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetTemplate")
        return {"TemplateBody": "Resources:"}


@pytest.mark.parametrize(("readable", "template"), [(True, "Resources:"), (False, "")])
def test_a_stack_is_described_by_outputs_before_parameters(*, readable: bool, template: str) -> None:
    """An output holds what became of a parameter; the template is missing where it may not be read."""
    stack = describe_stack(cast("Any", FakeCloudFormation(readable=readable)), "trail")

    assert (stack.values, stack.template) == ({"Name": "a", "Both": "b"}, template)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("Stack with id trail does not exist", "There is no stack trail in eu-central-1."),
        ("not allowed", "The stack trail cannot be read: ValidationError: not allowed."),
    ],
)
def test_a_stack_that_cannot_be_read_is_one_sentence(error: str, sentence: str) -> None:
    """A missing stack is mostly a wrong name or region."""
    with pytest.raises(SetupError) as failure:
        describe_stack(cast("Any", FakeCloudFormation(error=error)), "trail")

    assert str(failure.value) == sentence
