"""`trailsink deploy` and `trailsink destroy`: create, update and delete the stack on AWS."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.aws.session import open_session
from worker.cli.deploy_checks import check_deployment, check_names, check_rights
from worker.cli.output import confirm, confirm_name, print_line
from worker.cli.stack_data import describe_queues, stack_data
from worker.deploy.account import Account
from worker.deploy.code_bucket import CodeBucket, own_bucket_names
from worker.deploy.cost import describe_cost
from worker.deploy.deployed import describe_stack
from worker.deploy.function_code import code_sha256, read_function_code
from worker.deploy.manifest import check_parameters, read_manifest
from worker.deploy.stack import IN_REVIEW, Stack, StackOptions, is_in_progress
from worker.deploy.template import BUNDLE, UPLOADED_PARAMETERS, parameter_defaults, parameter_names, template_text
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from boto3 import Session

    from worker.deploy.manifest import Contents
    from worker.deploy.stack import StackEvent
    from worker.deploy.stack_change import StackChange

_DOMAIN = "AWS::OpenSearchService::Domain"  # what costs most

# A stack whose creation or deletion failed can only be deleted.
_FAILED = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", IN_REVIEW, "DELETE_FAILED")


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
) -> None:
    """Create the stack or update it, after a confirmation of what would change."""
    session = open_session()
    options = StackOptions(_pairs(tags, "--tag", "KEY"), service_role or "")
    account, stack = Account(session), Stack(session.client("cloudformation"), name, options=options)
    print_line(f"Account {account.id}, region {account.region}.")
    status = wait_until_idle(stack)
    parameters = _parameters(settings, bucket)
    existing = stack.parameters()
    keeps_code = bool(status) and status not in _FAILED and bundle is None and bool(parameters or scheduled_bundle)
    release = _read_stack(session, name, parameters) if keeps_code else _read_release(bundle or BUNDLE, parameters)
    if scheduled_bundle:
        release = release.with_scheduled(_read(scheduled_bundle), str(scheduled_bundle), existing)
    check_names(release.parameters, parameter_names(release.template))
    check_deployment(account, name, parameters, existing, is_new=not status)
    if status in _FAILED and plan:
        print_line(f"The stack {name} is {status}: it will be deleted first.")
        return
    if status in _FAILED:
        # The new stack gets what the failed one was asked for.
        release = release.with_defaults(existing)
        delete_failed_stack(stack, status, yes=yes)
    uploads = CodeBucket(session, code_bucket_account or account.id, code_bucket or "")
    if _update(session, account, stack, uploads, release, plan=plan, yes=yes):
        print_line(f"The stack {name} is ready.")
        for key, value in stack.outputs().items():
            print_line(f"  {key}: {value}")
    elif not plan:
        print_line(f"The stack {name} is up to date: no changes.")
    if release.code and not plan:
        _check_code(session, name, release.code, "loader")
    if release.scheduled_code and not plan:
        _check_code(session, name, release.scheduled_code, "scheduled")
    uploads.delete_unused()


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
) -> bool:
    """Bring the stack to a release, after a confirmation; returns whether anything changed."""
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
        return False
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
        print_line("This was the plan; nothing was changed.")
        return False
    if not confirm("Go on?", yes=yes, undo=stack.delete_change_set):
        raise SetupError("Nothing was changed.")
    _print_events(stack.execute_change_set())
    return True


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


def destroy(*, name: str, delete_data: bool, yes: bool) -> None:
    """Delete the stack and, with `delete_data`, the events in OpenSearch, after a confirmation."""
    session = open_session()
    account, stack = Account(session), Stack(session.client("cloudformation"), name)
    print_line(f"Account {account.id}, region {account.region}.")
    if not wait_until_idle(stack):
        print_line(f"There is no stack {name} in {account.region}.")
        return
    deployed = describe_stack(session.client("cloudformation"), name)
    data = stack_data(account, deployed)
    print_line(
        f"The stack {name} will be deleted: queues with all messages in them, function, alarms, bucket notification."
    )
    print_line(describe_queues(session, deployed))
    print_line("The trail's bucket with its files stays, and so do the notifications of others.")
    outcome = "be deleted permanently" if delete_data else "stay; --delete-data deletes it"
    print_line(f"{data.description} will {outcome}.")
    if delete_data:
        print_line(data.count())
    if not confirm_name(name, "the stack", yes=yes):
        raise SetupError("Nothing was changed.")
    # Connects to the cluster now: if that fails, nothing is deleted.
    deletion = data.delete() if delete_data else iter(())
    _print_events(stack.delete())
    print_line(f"The stack {name} is deleted.")
    code_bucket = deployed.values.get("CodeBucket", "")
    if code_bucket in own_bucket_names(account.id, account.region):
        print_line(CodeBucket(session, account.id, code_bucket).delete(name))
    for line in deletion:
        print_line(line)


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


# The stack's operations


def wait_until_idle(stack: Stack) -> str:
    """Wait for an operation that is in progress, as after an interrupted command; returns the stack's status."""
    status = stack.status()
    if is_in_progress(status) and status != IN_REVIEW:
        print_line(f"The stack {stack.name} is busy ({status}); waiting for it.")
        try:
            _print_events(stack.follow(set()))
        except SetupError as error:  # the earlier operation failed; this command continues from there
            print_line(str(error))
        status = stack.status()
    return status


def delete_failed_stack(stack: Stack, status: str, *, yes: bool) -> None:
    """Delete a stack that can neither be used nor updated, after a confirmation."""
    print_line(f"The stack {stack.name} is {status}: it must be deleted before it can be created again.")
    if not confirm("Delete it?", yes=yes):
        raise SetupError("Nothing was changed.")
    _print_events(stack.delete())


def _print_events(events: Generator[StackEvent, None, None]) -> None:
    with closing(events):
        for event in events:
            reason = f": {event.reason}" if event.reason and not event.reason.startswith("User Initiated") else ""
            print_line(f"  {event.status:<28} {event.logical_id}{reason}")
