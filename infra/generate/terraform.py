"""The parts of the Terraform module that say what the template says: `python -m infra.generate.terraform` writes them.

One variable for each parameter, the map that hands them over, one output for each output. What cannot be worked out
from the template is written by hand, in `main.tf`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfnlint.decode.cfn_yaml import loads

if TYPE_CHECKING:
    from collections.abc import Iterator

INFRA = Path(__file__).resolve().parents[1]
TEMPLATE = INFRA / "template.yaml"
MODULE = INFRA / "terraform"

# The module uploads the bundle, so it knows where that lies.
FILLED_IN = ("CodeBucket", "CodeKey")

_ORIGIN = (
    "# Made from infra/template.yaml by python -m infra.generate.terraform: change the template, run that again.\n\n"
)

# How Terraform writes what would begin an interpolation.
_MARKERS = {"${": "$${", "%{": "%%{"}


def snake_case(name: str) -> str:
    """Name a parameter or an output as Terraform's users would: `TrailKmsKeyArn` becomes `trail_kms_key_arn`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def read_template() -> dict[str, Any]:
    """Return the template as plain values: functions as `{"Ref": …}` and the like."""
    template: dict[str, Any] = json.loads(json.dumps(loads(TEMPLATE.read_text(encoding="utf-8"))))
    return template


def files(template: dict[str, Any]) -> dict[str, str]:
    """Return the text of each file that is made from the template, by its name in the module."""
    given = [_Variable(name, rules) for name, rules in template["Parameters"].items() if name not in FILLED_IN]
    outputs = template["Outputs"].items()
    named = {name: snake_case(name) for name in template["Parameters"]}
    return {
        "variables.tf": _ORIGIN + "\n".join(_variable(one, named) for one in given),
        "parameters.tf": _ORIGIN + _parameters(given),
        "outputs.tf": _ORIGIN + "\n".join(_output(name, output, named) for name, output in outputs),
    }


@dataclass(frozen=True, slots=True)
class _Variable:
    """One parameter, and the variable that stands for it."""

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
        """What the parameter's pattern is for, in HCL."""
        return f'join(",", var.{self.name})' if self.is_list else f"var.{self.name}"


def _variable(one: _Variable, named: dict[str, str]) -> str:
    default = one.rules.get("Default", "")
    words = _renamed(one.rules["Description"].replace(", comma-separated,", ""), named)
    words = words if default == "" else f"{words} [default: {default}]"
    lines = [f'variable "{one.name}" {{', f"  description = {_quoted(words)}", f"  type        = {one.type}"]
    if one.is_optional:
        lines.append("  default     = null")
    for condition, said in _bounds(one):
        lines += [
            "",
            "  validation {",
            # not `||`, which works out both sides, and null has no length
            f"    condition     = {f'var.{one.name} == null ? true : ' if one.is_optional else ''}{condition}",
            f"    error_message = {_quoted(f'{one.name} {said}.')}",
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def _bounds(one: _Variable) -> Iterator[tuple[str, str]]:
    """Yield what the template demands of a value: a condition in HCL, and in words."""
    rules, value = one.rules, f"var.{one.name}"
    if pattern := rules.get("AllowedPattern"):
        yield f"can(regex({_quoted(pattern)}, {one.as_text}))", f"must match {pattern}"
    if values := rules.get("AllowedValues"):
        yield f"contains({json.dumps(values)}, {value})", f"must be one of {', '.join(map(str, values))}"
    if longest := rules.get("MaxLength"):
        yield f"length({value}) <= {longest}", f"must have at most {longest} characters"
    if most := rules.get("MaxValue"):
        least = rules["MinValue"]
        yield (
            f"{value} >= {least} && {value} <= {most} && floor({value}) == {value}",
            f"must be a whole number from {least} to {most}",
        )


def _parameters(given: list[_Variable]) -> str:
    width = max(len(one.parameter) for one in given)
    values = [f"var.{one.name} == null ? null : {one.as_text}" if one.is_list else one.as_text for one in given]
    pairs = [f"    {one.parameter:<{width}} = {value}" for one, value in zip(given, values, strict=True)]
    return "\n".join(
        [
            "locals {",
            "  given = {",
            *pairs,
            "  }",
            "",
            "  # What is null is not handed over, and has the template's default: defaults stand in one place.",
            "  parameters = { for name, value in local.given : name => tostring(value) if value != null }",
            "}",
            "",
        ]
    )


def _output(name: str, output: dict[str, Any], named: dict[str, str]) -> str:
    words, found = _renamed(output["Description"], named), "aws_cloudformation_stack.trailsink.outputs"
    value = f'{found}["{name}"]'
    if "Condition" in output:
        words, value = f"{words}; null where there is none", f'lookup({found}, "{name}", null)'
    return f'output "{snake_case(name)}" {{\n  description = {_quoted(words)}\n  value       = {value}\n}}\n'


def _renamed(words: str, named: dict[str, str]) -> str:
    """Call parameters by the names of their variables."""
    return re.sub(r"\b[A-Z]\w+", lambda word: named.get(word[0], word[0]), words)


def _quoted(text: str) -> str:
    """Write a text as HCL does: JSON's escapes are HCL's too."""
    for marker, escaped in _MARKERS.items():
        text = text.replace(marker, escaped)
    return json.dumps(text, ensure_ascii=False)


def main() -> None:
    """Write the files."""
    for name, text in files(read_template()).items():
        (MODULE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
