"""Promises about a stack that Terraform takes over: every parameter keeps its value."""

from __future__ import annotations

import hcl2
import pytest

from infra.generate.terraform import MODULE, read_template
from worker.deploy.template import UPLOADED_PARAMETERS, template_text
from worker.deploy.tfvars import tfvars
from worker.humanize import snake_case

PARAMETERS = read_template()["Parameters"]


VARIABLES = (MODULE / "variables.tf").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - set(UPLOADED_PARAMETERS)))
def test_a_variable_has_the_module_s_name(name: str) -> None:
    """One that the module does not have is refused by Terraform; one that is missing would change the stack."""
    assert f'variable "{snake_case(name)}" {{' in VARIABLES


def test_every_parameter_is_written_with_the_type_of_its_variable() -> None:
    """Terraform refuses a text for a list; a number as a text would pass, and look odd."""
    values = {name: str(rules.get("Default", "x")) for name, rules in PARAMETERS.items()}
    values |= {"SubnetIds": "subnet-11111111,subnet-22222222", "RetentionDays": "31"}

    written = hcl2.loads(tfvars(template_text(), values))

    assert set(written) == {snake_case(name) for name in PARAMETERS if name not in UPLOADED_PARAMETERS}
    for name, value in written.items():
        kind = {int: "number", list: "list(string)", str: "string"}[type(value)]
        assert f'variable "{name}" {{' in VARIABLES
        assert f"type        = {kind}\n" in VARIABLES.partition(f'variable "{name}" {{')[2].partition("\n}")[0]
    assert written["retention_days"] == 31


def test_what_terraform_would_interpolate_is_escaped() -> None:
    """A value is never code."""
    assert tfvars(template_text(), {"TrailPrefix": "a${b}/"}) == 'trail_prefix = "a$${b}/"\n'
