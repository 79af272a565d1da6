"""CloudFormation as a custom resource's function sees it: its request, its environment, and who waits for an answer."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.http_server import Service, listening
from worker.deploy.custom_resource import LOOPBACK_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.http_server import Reply

STACK = "arn:aws:cloudformation:us-east-1:000000000000:stack/trailsink/0f5b2c60-7d3e-11f0-8c8e-0e3f9d1a2b3c"

# The variable of the function's environment for each property of the template's custom resources.
VARIABLES = {
    "Bucket": "TRAILSINK_BUCKET",
    "BucketAccount": "TRAILSINK_BUCKET_ACCOUNT",
    "QueueArn": "TRAILSINK_QUEUE_ARN",
    "ConfigurationId": "TRAILSINK_NOTIFICATION_ID",
    "Prefix": "TRAILSINK_NOTIFICATION_PREFIX",
    "Suffix": "TRAILSINK_NOTIFICATION_SUFFIX",
    "EventBridge": "TRAILSINK_EVENT_BRIDGE",
    "OpensearchUrl": "TRAILSINK_OPENSEARCH_URL",
    "OpensearchAuth": "TRAILSINK_OPENSEARCH_AUTH",
    "OpensearchService": "TRAILSINK_OPENSEARCH_SERVICE",
    "OpensearchSecretArn": "TRAILSINK_OPENSEARCH_SECRET_ARN",
    "IndexPrefix": "TRAILSINK_INDEX_PREFIX",
    "IndexPartition": "TRAILSINK_INDEX_PARTITION",
    "RetentionDays": "TRAILSINK_RETENTION_DAYS",
    "Replicas": "TRAILSINK_REPLICAS",
    "LoaderRoleArn": "TRAILSINK_LOADER_ROLE_ARN",
}


@dataclass
class CloudFormation(Service):
    """It waits for the response to a PUT, and says in which status its stack is."""

    status: str = "DELETE_IN_PROGRESS"

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if method != "POST":
            return super().serve(method, path, headers, body)
        if not self.status:
            return 403, b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
        stack = (
            f"<member><StackName>trailsink</StackName><StackId>{STACK}</StackId>"
            f"<CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>{self.status}</StackStatus></member>"
        )
        result = f"<DescribeStacksResult><Stacks>{stack}</Stacks></DescribeStacksResult>"
        return 200, f"<DescribeStacksResponse>{result}</DescribeStacksResponse>".encode()


def variables_of(properties: Mapping[str, str]) -> dict[str, str]:
    """The environment that the template gives to the function of a custom resource with these properties."""
    return {VARIABLES[name]: value for name, value in properties.items() if name in VARIABLES}


@contextmanager
def environment_of(properties: Mapping[str, str]) -> Iterator[None]:
    """Set that environment in this process, and nothing else of the template's."""
    names = {*VARIABLES.values(), "TRAILSINK_STACK_ID"}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(variables_of(properties) | {"TRAILSINK_STACK_ID": STACK})
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


@contextmanager
def waiting() -> Iterator[CloudFormation]:
    """A CloudFormation on this machine, whose responses the functions send there."""
    names = ("AWS_ENDPOINT_URL_CLOUDFORMATION", LOOPBACK_VARIABLE)
    before = {name: os.environ.get(name) for name in names}
    with listening(CloudFormation()) as service:
        assert isinstance(service, CloudFormation)
        os.environ.update(dict(zip(names, (service.url, "1"), strict=True)))
        try:
            yield service
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def request(kind: str, cloudformation: Service, properties: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """A request as CloudFormation sends it."""
    token = "arn:aws:lambda:us-east-1:000000000000:function:theirs"
    return {
        "RequestType": kind,
        "ServiceToken": token,
        "ResponseURL": f"{cloudformation.url}/custom-resource-response/one?X-Amz-Signature=0123456789abcdef",
        "StackId": STACK,
        "RequestId": "0f5b2c60-7d3e-11f0-8c8e-0e3f9d1a2b3d",
        "LogicalResourceId": "Notification",
        "ResourceType": "Custom::BucketNotification",
        "ResourceProperties": {"ServiceToken": token, **properties},
        **members,
    }
