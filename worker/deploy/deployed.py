"""A deployed stack as CloudFormation describes it: where its parts are, its template, and settings that use it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.errors import SetupError
from worker.settings import Settings, load_settings, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import StackTypeDef


# The output or parameter of infra/template.yaml that holds each setting's value.
_SETTINGS = {
    "opensearch_url": "OpensearchUrl",
    "queue_url": "QueueUrl",
    "dead_letter_queue_url": "DeadLetterQueueUrl",
    "bucket": "TrailBucketName",
    "trail_prefix": "TrailPrefix",
    "bucket_account": "TrailBucketAccount",
    "index_prefix": "IndexPrefix",
    "index_partition": "IndexPartition",
    "retention_days": "RetentionDays",
    "read_only_days": "ReadOnlyDays",
    "merge_days": "MergeDays",
    "merged_replicas": "MergedReplicas",
    "warm_days": "WarmDays",
}

# What no output or parameter holds as it is, and what a pipeline is reached with.
_BESIDE = ("buckets", "filters", "opensearch_service")
_ACCESS = (
    *("opensearch_auth", "opensearch_username", "opensearch_password_file", "opensearch_secret_arn"),
    *("opensearch_ca_file", "s3_role_arn", "s3_external_id", "ledger"),
)

_SECRETS = ("MasterSecretArn", "SecretArn")

_SERVICES = {"create-domain": "es", "domain": "es", "serverless": "aoss"}


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """A stack's outputs and parameters by name, and its template's text, "" when reading it is not allowed.

    `status` is CloudFormation's, and `reason` what it says about that.
    """

    name: str
    values: Mapping[str, str]
    template: str
    status: str = "CREATE_COMPLETE"
    reason: str = ""

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which commands use this stack, by name; credentials for the cluster are not among them."""
        settings = {setting: self.values[name] for setting, name in _SETTINGS.items() if self.values.get(name)}
        if self.values.get("FiltersBucket"):
            settings["filters"] = f"s3://{self.values['FiltersBucket']}/{self.values.get('FiltersKey', '')}"
        if service := _SERVICES.get(self.values.get("Destination", "")):
            settings["opensearch_service"] = service
        return settings

    @property
    def secret(self) -> str:
        """The ARN of the secret with a password for the cluster, "" when the stack has none."""
        return next((self.values[name] for name in _SECRETS if self.values.get(name)), "")


def describe_stack(client: CloudFormationClient, name: str) -> DeployedStack:
    """Read a stack from CloudFormation; raises SetupError when it does not exist or cannot be read."""
    try:
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
    except (ClientError, BotoCoreError) as error:
        if "does not exist" in error_text(error):
            raise SetupError(f"There is no stack {name} in {client.meta.region_name}.") from error
        raise SetupError(f"The stack {name} cannot be read: {error_text(error)}.") from error
    return DeployedStack(
        name,
        parameter_values(stack) | output_values(stack),
        _template(client, name),
        stack.get("StackStatus", "CREATE_COMPLETE"),
        stack.get("StackStatusReason", ""),
    )


def parameter_values(stack: StackTypeDef) -> dict[str, str]:
    """Return the parameters of a stack's description by name."""
    return {entry.get("ParameterKey", ""): entry.get("ParameterValue", "") for entry in stack.get("Parameters", [])}


def output_values(stack: StackTypeDef) -> dict[str, str]:
    """Return the outputs of a stack's description by name."""
    return {entry.get("OutputKey", ""): entry.get("OutputValue", "") for entry in stack.get("Outputs", [])}


def _template(client: CloudFormationClient, name: str) -> str:
    try:
        body: Any = client.get_template(StackName=name).get("TemplateBody", "")
    except (ClientError, BotoCoreError):
        return ""
    return body if isinstance(body, str) else ""


def stack_variables(deployed: DeployedStack) -> dict[str, str]:
    """Return the environment variables that point at a stack, "" for those that must not be set."""
    settings, default = settings_of(deployed), Settings()
    values = {name: getattr(settings, name) for name in (*_SETTINGS, *_BESIDE, *_ACCESS)}
    # What the stack itself asks for is set even if it is the default: a retention of 0 is one, and not none.
    left_out = {name for name in values.keys() - deployed.settings.keys() if values[name] == getattr(default, name)}
    return {variable(name): "" if name in left_out else str(value) for name, value in values.items()}


def settings_of(deployed: DeployedStack) -> Settings:
    """Load the settings for a stack; credentials come from the environment, or else from the stack's secret.

    What the stack does not have is not set: the environment may be that of another pipeline. Where it points at another
    cluster, its credentials are for that one, and nothing of them is sent to this.
    """
    pointed_at = os.environ.get(variable("opensearch_url"), "")
    is_foreign = bool(pointed_at) and pointed_at.rstrip("/") != deployed.values.get("OpensearchUrl", "").rstrip("/")
    names = (*_SETTINGS, *_BESIDE, *(_ACCESS if is_foreign else ()))
    values = {name: Settings.model_fields[name].default for name in names} | deployed.settings
    settings = load_settings(**values)
    if settings.opensearch_username or settings.opensearch_secret_arn:
        return settings
    if deployed.secret:
        return load_settings(**values | {"opensearch_secret_arn": deployed.secret})
    if settings.opensearch_auth == "auto" and settings.opensearch_service != "auto":
        # An endpoint of one's own does not tell by its host name that requests have to be signed.
        return load_settings(**values | {"opensearch_auth": "sigv4"})
    return settings
