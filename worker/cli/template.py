"""`trailsink template`: prints the CloudFormation template."""

from __future__ import annotations

import click

from worker.deploy.template import template_text


def template() -> None:
    """Print the CloudFormation template."""
    click.echo(template_text(), nl=False)
