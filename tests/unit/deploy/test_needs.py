"""Promises about what each command needs: whoever grants it has granted enough, and not more."""

from __future__ import annotations

import re

import click
import pytest

from tests.unit.test_template import RESOURCES
from worker.cli.commands.permissions import COMMANDS
from worker.cli.main import main
from worker.deploy.needs import NEEDS, Need
from worker.deploy.stack_needs import BY_TYPE, DEPLOY

ACTION = re.compile(r"[a-z0-9]+:[A-Z][A-Za-z]+")


def test_every_command_says_what_it_needs() -> None:
    """Whoever runs it in a company has to ask for permissions first."""
    commands = set(main.list_commands(click.Context(main)))

    assert {need.command for need in NEEDS} == commands == set(COMMANDS)


@pytest.mark.parametrize("kind", sorted({resource["Type"] for resource in RESOURCES.values()}))
def test_every_kind_of_resource_has_the_actions_that_create_and_delete_it(kind: str) -> None:
    """A missing one fails the stack in the middle, and its rollback, too."""
    actions = {action for allowed in BY_TYPE[kind].values() for action in allowed}

    assert actions
    assert actions <= {action for allowed in DEPLOY.values() for action in allowed}


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.command)
def test_an_action_is_a_service_and_an_operation(need: Need) -> None:
    """IAM accepts a misspelt action, and allows nothing by it."""
    assert [action for actions in need.aws.values() for action in actions if not ACTION.fullmatch(action)] == []


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.command)
def test_a_role_names_the_indices_of_its_prefix(need: Need) -> None:
    """A role on all indices would open those of others."""
    role = need.role("acme")

    patterns = [pattern for part in role.get("index_permissions", ()) for pattern in part["index_patterns"]]
    assert all("acme" in pattern for pattern in patterns)
