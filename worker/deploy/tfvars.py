"""The parameters of a stack as the variables of the Terraform module, for taking the stack over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from worker.deploy.template import UPLOADED_PARAMETERS, parameter_lines
from worker.humanize import snake_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def tfvars(template: str, values: Mapping[str, str]) -> str:
    """Return every parameter of a stack as a line of HCL: one that is left out would go back to its default."""
    numbers, lists = _kinds(template)
    lines = [
        f"{snake_case(name)} = {_literal(value, is_number=name in numbers, is_list=name in lists)}"
        for name, value in sorted(values.items())
        if name not in UPLOADED_PARAMETERS
    ]
    return "".join(f"{line}\n" for line in lines)


def _literal(value: str, *, is_number: bool, is_list: bool) -> str:
    if is_number:
        return value
    if is_list:
        return json.dumps(value.split(",") if value else [])
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _kinds(template: str) -> tuple[set[str], set[str]]:
    """Return the names of the parameters that are numbers, and of those that are lists."""
    facts = list(_facts(template))
    numbers = {name for name, line in facts if line == "Type: Number"}
    return numbers, {name for name, line in facts if line.startswith("Description:") and "comma-separated" in line}


def _facts(template: str) -> Iterator[tuple[str, str]]:
    """Yield each line of a parameter with its name."""
    name = ""
    for line in parameter_lines(template):
        if line[2:3].isalpha():
            name = line.strip().rstrip(":")
        yield name, line.strip()
