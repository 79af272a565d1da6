"""Promises about the template that travels with the command: it is found, and its parameters are read from its text."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.deploy.template import parameter_names, template_text

TEMPLATE = """
Description: a template
Parameters:
  # a comment about the first
  First:
    Type: String
    AllowedValues:
      - a

  Second2: {Type: Number}
Conditions:
  IsFirst: !Equals [!Ref First, a]
"""


def test_the_template_is_the_one_in_the_repository() -> None:
    """It is packaged from infra/, and read from the package."""
    assert template_text() == (Path(__file__).parents[3] / "infra" / "template.yaml").read_text(encoding="utf-8")


def test_the_parameters_are_the_entries_of_their_section() -> None:
    """What a parameter holds, comments and the sections after it are no parameters."""
    names = {name.partition(":")[0] for name in parameter_names(TEMPLATE)}

    assert names == {"First", "Second2"}


def test_the_section_of_parameters_may_be_the_last() -> None:
    """CloudFormation gives sections no order."""
    assert parameter_names("Resources:\n  Queue:\nParameters:\n  First:\n    Type: String\n") == {"First"}


def test_a_text_without_parameters_is_no_template_of_ours() -> None:
    """Ours always has them, so a template without is a packaging fault."""
    with pytest.raises(ValueError, match="Parameters:"):
        parameter_names("Resources:\n  Queue:\n")
