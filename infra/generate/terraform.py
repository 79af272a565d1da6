"""The files of the Terraform module that follow from the template.

One variable for each parameter, the map that passes them on, and one output for each output. `main.tf` is written by
hand. `make docs` writes the others.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfnlint.decode.cfn_yaml import loads

from worker.deploy.template import UPLOADED_PARAMETERS
from worker.humanize import snake_case

if TYPE_CHECKING:
    from collections.abc import Iterator

INFRA = Path(__file__).resolve().parents[1]
TEMPLATE = INFRA / "template.yaml"
MODULE = INFRA / "terraform"

_ORIGIN = "# Generated from infra/template.yaml: change the template, then run `make docs`.\n\n"

# How HCL escapes the beginning of an interpolation.
_MARKERS = {"${": "$${", "%{": "%%{"}


def read_template() -> dict[str, Any]:
    """Return the template as plain values: functions as `{"Ref": …}` and the like."""
    template: dict[str, Any] = json.loads(json.dumps(loads(TEMPLATE.read_text(encoding="utf-8"))))
    return template


def files(template: dict[str, Any]) -> dict[str, str]:
    """Return the text of each generated file, by its name in the module."""
    variables = [
        _Variable(name, rules) for name, rules in template["Parameters"].items() if name not in UPLOADED_PARAMETERS
    ]
    outputs = template["Outputs"].items()
    names = {name: snake_case(name) for name in template["Parameters"]}
    return {
        "variables.tf": _ORIGIN + "\n".join(_variable(variable, names) for variable in variables),
        "parameters.tf": _ORIGIN + _parameters(variables),
        "outputs.tf": _ORIGIN + "\n".join(_output(name, output, names) for name, output in outputs),
    }


@dataclass(frozen=True, slots=True)
class _Variable:
    """The variable of one parameter."""

    parameter: str
    rules: dict[str, Any]

    @property
    def name(self) -> str:
        return snake_case(self.parameter)

    @property
    def is_list(self) -> bool:
        return "comma-separated" in self.rules["Description"]

    @property
    def is_optional(self) -> bool:
        return "Default" in self.rules

    @property
    def type(self) -> str:
        return "number" if self.rules["Type"] == "Number" else "list(string)" if self.is_list else "string"

    @property
    def as_text(self) -> str:
        """The parameter's value as text, in HCL."""
        return f'join(",", var.{self.name})' if self.is_list else f"var.{self.name}"


def _variable(variable: _Variable, names: dict[str, str]) -> str:
    default = variable.rules.get("Default", "")
    description = _renamed(variable.rules["Description"].replace(", comma-separated,", ""), names)
    description = description if default == "" else f"{description} [default: {default}]"
    lines = [
        f'variable "{variable.name}" {{',
        f"  description = {_quoted(description)}",
        f"  type        = {variable.type}",
    ]
    if variable.is_optional:
        lines.append("  default     = null")
    # not `||`, which evaluates both sides, and null has no length
    unless_null = f"var.{variable.name} == null ? true : " if variable.is_optional else ""
    for condition, requirement in _bounds(variable):
        lines += [
            "",
            "  validation {",
            f"    condition     = {unless_null}{condition}",
            f"    error_message = {_quoted(f'{variable.name} {requirement}.')}",
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def _bounds(variable: _Variable) -> Iterator[tuple[str, str]]:
    """Yield the template's constraints on a value: as a condition in HCL, and in words."""
    rules, value = variable.rules, f"var.{variable.name}"
    if pattern := rules.get("AllowedPattern"):
        yield f"can(regex({_quoted(pattern)}, {variable.as_text}))", f"must match {pattern}"
    if values := rules.get("AllowedValues"):
        yield f"contains({json.dumps(values)}, {value})", f"must be one of {', '.join(map(str, values))}"
    if longest := rules.get("MaxLength"):
        yield f"length({value}) <= {longest}", f"must have a maximum of {longest} characters"
    if maximum := rules.get("MaxValue"):
        minimum = rules["MinValue"]
        yield (
            f"{value} >= {minimum} && {value} <= {maximum} && floor({value}) == {value}",
            f"must be a whole number from {minimum} to {maximum}",
        )


def _parameters(variables: list[_Variable]) -> str:
    width = max(len(variable.parameter) for variable in variables)
    values = [
        f"var.{variable.name} == null ? null : {variable.as_text}" if variable.is_list else variable.as_text
        for variable in variables
    ]
    pairs = [f"    {variable.parameter:<{width}} = {value}" for variable, value in zip(variables, values, strict=True)]
    return "\n".join(
        [
            "locals {",
            "  values = {",
            *pairs,
            "  }",
            "",
            "  # A null is left out, so the template's default applies.",
            "  parameters = { for name, value in local.values : name => tostring(value) if value != null }",
            "}",
            "",
        ]
    )


def _output(name: str, output: dict[str, Any], names: dict[str, str]) -> str:
    description, outputs = _renamed(output["Description"], names), "aws_cloudformation_stack.trailsink.outputs"
    value = f'{outputs}["{name}"]'
    if "Condition" in output:
        description, value = f"{description}; null where there is none", f'lookup({outputs}, "{name}", null)'
    return f'output "{snake_case(name)}" {{\n  description = {_quoted(description)}\n  value       = {value}\n}}\n'


def _renamed(description: str, names: dict[str, str]) -> str:
    """Replace names of parameters by those of their variables."""
    return re.sub(r"\b[A-Z]\w+", lambda word: names.get(word[0], word[0]), description)


def _quoted(text: str) -> str:
    """Quote a text for HCL, whose escapes are those of JSON."""
    for marker, escaped in _MARKERS.items():
        text = text.replace(marker, escaped)
    return json.dumps(text, ensure_ascii=False)


def write() -> None:
    """Write the generated files into the module."""
    for name, text in files(read_template()).items():
        (MODULE / name).write_text(text, encoding="utf-8")
