"""`trailsink deploy`: creates the stack on AWS, or updates it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.aws.session import open_session
from worker.cli.deploy_checks import check_deployment, check_names, check_rights
from worker.cli.output import confirm, print_json, print_line, send_messages_to_stderr
from worker.cli.stack_operations import delete_failed_stack, print_events, wait_until_idle
from worker.deploy.account import Account
from worker.deploy.bundle import bundle_of
from worker.deploy.code_bucket import CodeBucket
from worker.deploy.cost import describe_cost
from worker.deploy.deployed import describe_stack
from worker.deploy.function_code import code_sha256, read_function_code
from worker.deploy.manifest import check_parameters, check_target, read_manifest
from worker.deploy.stack import IN_REVIEW, Stack, StackOptions
from worker.deploy.template import UPLOADED_PARAMETERS, parameter_defaults, parameter_names, template_text
from worker.errors import SetupError
from worker.health.stack_advice import for_stack

if TYPE_CHECKING:
    from pathlib import Path

    from boto3 import Session

    from worker.deploy.manifest import Contents
    from worker.deploy.stack_change import StackChange

# The variables of the output NextCommands, which are one line of 800 characters.
_EXPORT = re.compile(r"^export .* TRAILSINK_FILTERS=\S*; ")

_DOMAIN = "AWS::OpenSearchService::Domain"  # what costs most

# A stack whose creation or deletion failed can only be deleted.
_FAILED = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", IN_REVIEW, "DELETE_FAILED")


# Parameters of the policy that each index gets when it is created.
_RETENTION = ("RetentionDays", "ReadOnlyDays", "MergeDays", "MergedReplicas", "WarmDays")


def deploy(  # noqa: PLR0913 - one per option
    *,
    bucket: str | None,
    name: str,
    settings: tuple[str, ...],
    bundle: Path | None,
    scheduled_bundle: Path | None,
    code_bucket: str | None,
    code_bucket_account: str | None,
    tags: tuple[str, ...],
    service_role: str | None,
    plan: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Create the stack or update it, after a confirmation of what would change."""
    if as_json:
        send_messages_to_stderr()
    session = open_session()
    options = StackOptions(_pairs(tags, "--tag", "KEY"), service_role or "")
    account, stack = Account(session), Stack(session.client("cloudformation"), name, options=options)
    print_line(f"Account {account.id}, region {account.region}.")
    status = wait_until_idle(stack)
    parameters = _parameters(settings, bucket)
    existing = stack.parameters()
    has_parts = bool(status) and status not in _FAILED
    # `--bucket` is how one installs: it brings this version's template and code.
    keeps_code = has_parts and bundle is None and bucket is None and bool(parameters or scheduled_bundle)
    if keeps_code:
        release = _read_stack(session, name, parameters)
    else:
        release = _read_release(bundle or bundle_of(existing | parameters), parameters)
    if scheduled_bundle:
        release = release.with_scheduled(_read(scheduled_bundle), str(scheduled_bundle), existing)
    if has_parts:
        check_target(release.parameters, existing, code=release.code, scheduled_code=release.scheduled_code)
    check_names(release.parameters, parameter_names(release.template))
    check_deployment(account, name, parameters, existing, is_new=not status)
    if status in _FAILED and plan:
        print_line(f"The stack {name} is {status}: it will be deleted first.")
        if as_json:
            print_json(_document(account, stack, [], plan=plan))
        return
    if status in _FAILED:
        # The new stack gets what the failed one was asked for.
        release = release.with_defaults(existing)
        delete_failed_stack(stack, status, yes=yes)
    uploads = CodeBucket(session, code_bucket_account or account.id, code_bucket or "")
    changes = _update(session, account, stack, uploads, release, plan=plan, yes=yes)
    if not plan:
        _print_result(session, stack, release, changes, existing)
    uploads.delete_unused()
    if as_json:
        print_json(_document(account, stack, changes, plan=plan))


def _print_result(
    session: Session, stack: Stack, release: _Release, changes: list[StackChange], before: dict[str, str]
) -> None:
    """Print what the stack has become; raises SetupError when a function runs other code than was uploaded."""
    if changes:
        print_line(f"The stack {stack.name} is ready.")
        outputs = stack.outputs()
        commands = next_commands(outputs.pop("NextCommands", ""), stack.name)
        for key, value in outputs.items():
            print_line(f"  {key}: {value}")
        print_line(f"Next: {commands}")
        print_line(f'For commands without --stack: eval "$(trailsink env --stack {stack.name})"')
    else:
        print_line(f"The stack {stack.name} is up to date: no changes.")
    if any(release.parameters.get(name, before.get(name)) != before.get(name) for name in _RETENTION if before):
        command = f"trailsink setup --stack {stack.name} --existing"
        print_line(f"Indices that exist keep the policy that they have; `{command}` gives them the new one.")
    if release.code:
        _check_code(session, stack.name, release.code, "loader")
    if release.scheduled_code:
        _check_code(session, stack.name, release.scheduled_code, "scheduled")


def next_commands(output: str, stack: str) -> str:
    """Return the commands of the output NextCommands for a stack; what they export, `--stack` reads from it."""
    return for_stack(_EXPORT.sub("", output) or "trailsink doctor", stack)


def _document(account: Account, stack: Stack, changes: list[StackChange], *, plan: bool) -> dict[str, Any]:
    """Return what a deployment changed, or would change, as `--json` prints it."""
    return {
        "stack": stack.name,
        "account": account.id,
        "region": account.region,
        "status": stack.status() or None,
        "plan": plan,
        "changes": [
            {
                "action": change.action.lower(),
                "resource": change.logical_id,
                "type": change.resource_type,
                "replacement": change.replacement.name.lower(),
            }
            for change in changes
        ],
        "outputs": stack.outputs(),
    }


@dataclass(frozen=True, slots=True)
class _Release:
    """What a stack is brought to: template, parameters, and the functions' code, None where it stays as it is."""

    template: str
    parameters: dict[str, str]
    code: bytes | None
    scheduled_code: bytes | None = None

    def with_defaults(self, parameters: dict[str, str]) -> _Release:
        """Return the same with parameters that it does not set itself, as far as its template has them."""
        current = parameter_names(self.template).difference(UPLOADED_PARAMETERS)
        defaults = {name: value for name, value in parameters.items() if name in current}
        return replace(self, parameters=defaults | self.parameters)

    def with_scheduled(self, code: bytes, name: str, existing: dict[str, str]) -> _Release:
        """Return the same with the code of the scheduled functions; raises SetupError when it is no such code."""
        check_parameters(read_manifest(code, name, "scheduled"), existing | self.parameters)
        return replace(self, scheduled_code=code)


def _read_release(bundle: Path, parameters: dict[str, str]) -> _Release:
    """Return the release of this trailsink; the bundle says which processor and which Python it is for."""
    code = _read(bundle)
    return _Release(template_text(), check_parameters(read_manifest(code, str(bundle)), parameters), code)


def _read_stack(session: Session, name: str, parameters: dict[str, str]) -> _Release:
    """Return what a stack has, for a change of parameters alone."""
    template = describe_stack(session.client("cloudformation"), name).template
    if not template:
        raise SetupError(f"The template of the stack {name} may not be read: cloudformation:GetTemplate.")
    print_line(f"Template and code stay as they are; `trailsink deploy --stack {name}` alone upgrades them.")
    return _Release(template, parameters, None)


def _update(  # noqa: PLR0913 - the parts of a deployment, and two choices
    session: Session, account: Account, stack: Stack, uploads: CodeBucket, release: _Release, *, plan: bool, yes: bool
) -> list[StackChange]:
    """Bring the stack to a release, after a confirmation; returns what changed, or with `plan` what would."""
    text, parameters = release.template, release.parameters
    if release.code:
        upload = uploads.upload(release.code, "zip")
        parameters = parameters | {"CodeBucket": upload.bucket, "CodeKey": upload.key}
    if release.scheduled_code:
        parameters = parameters | {"ScheduledCodeKey": uploads.upload(release.scheduled_code, "zip").key}
    url = uploads.upload(text.encode(), "yaml").url
    changes = stack.create_change_set(url, parameters, parameter_names(text))
    if not changes:
        if plan:
            print_line(f"The stack {stack.name} is up to date: nothing would change.")
        return []
    stack.check_template(text)
    print_line(f"The stack {stack.name} will")
    for change in changes:
        print_line(f"  {change}")
    _refuse_new_domain(stack, changes)
    defaults, existing = parameter_defaults(text), stack.parameters()
    if any(change.resource_type == _DOMAIN for change in changes):
        cost = describe_cost(defaults | existing if existing else {}, defaults | existing | parameters)
        if cost:
            print_line(cost)
    check_rights(session, account, stack, changes, defaults | existing | parameters)
    if plan:
        stack.delete_change_set()
        print_line(f"This was the plan; nothing was changed. The template and the bundle are in s3://{uploads.name}.")
        return changes
    if not confirm("Go on?", yes=yes, undo=stack.delete_change_set):
        raise SetupError("Nothing was changed.")
    print_events(stack.execute_change_set())
    return changes


def _refuse_new_domain(stack: Stack, changes: list[StackChange]) -> None:
    """Raise SetupError, and delete the change set, if it may replace the domain with all its events."""
    domain = next((change for change in changes if change.loses_data), None)
    if domain is None:
        return
    stack.delete_change_set()
    causes = f" ({', '.join(domain.causes)})" if domain.causes else ""
    raise SetupError(
        f"This may replace the OpenSearch domain by an empty one{causes}, so nothing was changed. Its name and its key"
        " cannot change once it exists. To use KmsKeyArn for everything else, set DomainKey=aws. For another domain,"
        " deploy another stack, and load it with `trailsink backfill`."
    )


def _check_code(session: Session, stack: str, bundle: bytes, contents: Contents) -> None:
    """Raise SetupError when a function of the stack runs anything but the bundle that was uploaded for it."""
    try:
        functions = read_function_code(session, stack, contents)
    except SetupError as error:
        print_line(f"Whether the functions run the bundle was not checked. {error}")
        return
    expected = code_sha256(bundle)
    others = sorted(name for name, digest in functions.items() if digest != expected)
    if others:
        raise SetupError(
            f"{', '.join(others)} of the stack {stack} runs other code than the bundle that was uploaded: somebody has"
            " replaced it in the bucket. Delete the stack, and find out who can write to the bucket."
        )


# What is deployed


def _read(bundle: Path) -> bytes:
    try:
        return bundle.read_bytes()
    except OSError as error:
        raise SetupError(
            f"The bundle {bundle} cannot be read: {error.strerror}; build it with `trailsink package`."
        ) from error


def _parameters(settings: tuple[str, ...], bucket: str | None) -> dict[str, str]:
    """Return the template's parameters that the command line sets."""
    parameters = _pairs(settings, "--set", "NAME")
    if bucket:
        parameters["TrailBucketName"] = bucket
    return parameters


def _pairs(words: tuple[str, ...], option: str, noun: str) -> dict[str, str]:
    """Return the values of an option that takes NAME=VALUE."""
    pairs = [word.partition("=") for word in words]
    invalid = [name for name, equals, _ in pairs if not equals]
    if invalid:
        raise SetupError(f"{option} takes {noun}=VALUE, not {invalid[0]}.")
    return {name: value for name, _, value in pairs}
