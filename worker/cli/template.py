"""`trailsink template`: prints the CloudFormation template, or a stack's parameters for Terraform."""

from __future__ import annotations

import click

from worker.deploy.template import template_text


def template(*, name: str | None) -> None:
    """Print the CloudFormation template, or the variables of the Terraform module for a stack; raises SetupError."""
    if not name:
        click.echo(template_text(), nl=False)
        return
    # The template alone needs no SDK.
    from worker.aws.session import open_session  # noqa: PLC0415
    from worker.deploy.stack import Stack  # noqa: PLC0415
    from worker.deploy.tfvars import tfvars  # noqa: PLC0415
    from worker.errors import SetupError  # noqa: PLC0415

    values = Stack(open_session().client("cloudformation"), name).parameters()
    if not values:
        raise SetupError(f"There is no stack {name}.")
    click.echo(f'stack_name = "{name}"\n{tfvars(template_text(), values)}', nl=False)
