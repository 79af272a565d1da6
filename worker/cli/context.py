"""What holds for the whole command line: the profile and region of AWS, the stack, and the file that names them."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = Path(".trailsink.toml")

# They would win over a profile: docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")

# What points a shell at a pipeline.
_PIPELINE = ("TRAILSINK_QUEUE_URL", "TRAILSINK_OPENSEARCH_URL")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the file names; it holds no address and no credentials, because it may come with somebody's folder."""

    stack: str = ""
    profile: str = ""
    region: str = ""


def read_defaults(path: Path = FILE) -> Defaults:
    """Return what the file of the current folder names; raises SetupError for one that is not valid."""
    try:
        members = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return Defaults()
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} cannot be read: {error}.") from error
    names = [field.name for field in fields(Defaults)]
    invalid = [name for name, value in members.items() if name not in names or not isinstance(value, str)]
    if invalid:
        raise SetupError(f"{path} may only name {', '.join(names)}, each as a text; not {', '.join(invalid)}.")
    return Defaults(**members)


def use_account(profile: str | None, region: str | None, defaults: Defaults) -> None:
    """Set profile and region for every AWS client of this process; an option wins over the shell, it over the file."""
    if profile:
        os.environ["AWS_PROFILE"] = profile
        for name in _KEYS:
            os.environ.pop(name, None)
    elif defaults.profile and not any(os.environ.get(name) for name in ("AWS_PROFILE", *_KEYS)):
        os.environ["AWS_PROFILE"] = defaults.profile
    if region:
        os.environ["AWS_REGION"] = region
    elif defaults.region and not any(os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")):
        os.environ["AWS_REGION"] = defaults.region


def points_at_pipeline() -> bool:
    """Return whether the shell itself names a pipeline, as after `eval "$(trailsink env)"`."""
    return any(os.environ.get(name) for name in _PIPELINE)


def use_stack(name: str) -> None:
    """Point this process at a stack, as `trailsink env` does with a shell; raises SetupError."""
    _set(stack_environment(name))


def stack_environment(name: str) -> dict[str, str]:
    """Return the variables that point at a stack, "" for those that must not be set; raises SetupError."""
    # Only a stack needs the SDK.
    from worker.aws.session import open_session  # noqa: PLC0415
    from worker.cli.output import print_line  # noqa: PLC0415
    from worker.deploy.deployed import describe_stack, stack_variables  # noqa: PLC0415

    session = open_session()
    deployed = describe_stack(session.client("cloudformation"), name)
    if not deployed.values.get("QueueUrl"):
        raise SetupError(
            f"The stack {name} is {deployed.status}, and has no queue. Create it: trailsink deploy --stack {name}"
        )
    if any(word in deployed.status for word in ("FAILED", "ROLLBACK")):
        print_line(f"The stack {name} is {deployed.status}: trailsink doctor --stack {name} says more.", err=True)
    return {"AWS_REGION": session.region_name, **stack_variables(deployed)}


def _set(variables: Mapping[str, str]) -> None:
    for variable, value in variables.items():
        if value:
            os.environ[variable] = value
        else:
            os.environ.pop(variable, None)
