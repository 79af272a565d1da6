"""What a deployed stack says of itself: where its parts are, and which template and bundle it was made from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.errors import SetupError
from worker.health.findings import not_checked, ok, warning
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from types_boto3_cloudformation import CloudFormationClient

    from worker.health.findings import Finding
    from worker.settings import Settings


# Which output or parameter of infra/template.yaml each setting is.
_SETTINGS = {
    "opensearch_url": "OpensearchUrl",
    "queue_url": "QueueUrl",
    "dead_letter_queue_url": "DeadLetterQueueUrl",
    "bucket": "TrailBucketName",
    "index_prefix": "IndexPrefix",
    "index_partition": "IndexPartition",
    "retention_days": "RetentionDays",
}

_SECRETS = ("MasterSecretArn", "SecretArn")

_SERVICES = {"create-domain": "es", "domain": "es", "serverless": "aoss"}


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """A stack's outputs and parameters by name, and its template's text ("" where it may not be read)."""

    name: str
    values: Mapping[str, str]
    template: str

    @property
    def settings(self) -> dict[str, str]:
        """The settings that point at this stack, as `Settings` takes them; how to sign in is left to who asks."""
        found = {setting: self.values[name] for setting, name in _SETTINGS.items() if self.values.get(name)}
        if service := _SERVICES.get(self.values.get("Destination", "")):
            found["opensearch_service"] = service
        return found

    @property
    def secret(self) -> str:
        """The ARN of the secret with a password for the cluster, "" where there is none."""
        return next((self.values[name] for name in _SECRETS if self.values.get(name)), "")

    @property
    def trail_prefix(self) -> str:
        """What the trail's keys begin with."""
        return self.values.get("TrailPrefix", "")

    def differences(self, template: str, bundle: bytes | None) -> Iterator[Finding]:
        """Compare the stack's template and bundle with those of this trailsink; `bundle` is None when none is built."""
        upgrade = f"trailsink deploy --stack {self.name}"
        if not self.template:
            yield not_checked("template", f"the template of the stack {self.name} may not be read")
        elif self.template.split() == template.split():
            yield ok("template", f"the stack {self.name} has that of this trailsink")
        else:
            yield warning("template", f"the stack {self.name} was made from another than this trailsink's", upgrade)
        key = self.values.get("CodeKey", "")
        if not re.fullmatch(r"trailsink/[0-9a-f]{64}\.zip", key):  # Terraform's, or somebody's own
            yield not_checked("bundle", f"the function runs {key}, which `trailsink deploy` has not put there")
        elif bundle is None:
            yield not_checked("bundle", f"the function runs {key}; none is built here to compare", "make package")
        elif sha256(bundle).hexdigest() in key:
            yield ok("bundle", "the function runs the one that is built here")
        else:
            yield warning("bundle", f"the function runs {key}, another than the one that is built here", upgrade)


def describe_stack(client: CloudFormationClient, name: str) -> DeployedStack:
    """Ask CloudFormation for a stack; raises SetupError when it is not there or may not be looked at."""
    try:
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
    except (ClientError, BotoCoreError) as error:
        if "does not exist" in error_text(error):
            raise SetupError(f"There is no stack {name} in {client.meta.region_name}.") from error
        raise SetupError(f"The stack {name} cannot be looked at: {error_text(error)}.") from error
    values = {one.get("ParameterKey", ""): one.get("ParameterValue", "") for one in stack.get("Parameters", [])}
    values |= {one.get("OutputKey", ""): one.get("OutputValue", "") for one in stack.get("Outputs", [])}
    return DeployedStack(name, values, _template(client, name))


def _template(client: CloudFormationClient, name: str) -> str:
    try:
        body: Any = client.get_template(StackName=name).get("TemplateBody", "")
    except (ClientError, BotoCoreError):
        return ""
    return body if isinstance(body, str) else ""


def settings_of(deployed: DeployedStack) -> Settings:
    """Point the settings at a stack; the environment says how to sign in, or else the secret that the stack names."""
    settings = load_settings(**deployed.settings)
    if deployed.secret and not settings.opensearch_username and not settings.opensearch_secret_arn:
        return load_settings(**deployed.settings, opensearch_secret_arn=deployed.secret)
    return settings
