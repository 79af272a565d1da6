"""One change of a change set: what CloudFormation does to which resource, and whether it replaces it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import ResourceChangeTypeDef

_DOMAIN = "AWS::OpenSearchService::Domain"


class Replacement(StrEnum):
    """Whether a change replaces its resource; CloudFormation decides on a conditional one while it executes it."""

    NO = "False"
    PERHAPS = "Conditional"
    YES = "True"


@dataclass(frozen=True, slots=True)
class StackChange:
    """One change of a change set: the action, the resource, and whether CloudFormation replaces the resource.

    `causes` are the properties because of which it may.
    """

    action: str
    logical_id: str
    resource_type: str
    replacement: Replacement = Replacement.NO
    causes: tuple[str, ...] = ()

    def __str__(self) -> str:
        verbs = {"Add": "create", "Modify": "modify", "Remove": "remove", "Import": "import"}
        texts = {Replacement.YES: ", replacing it", Replacement.PERHAPS: ", perhaps replacing it"}
        replacement = texts.get(self.replacement, "")
        return f"{verbs.get(self.action, self.action)} {self.logical_id} ({self.resource_type}){replacement}"

    @property
    def loses_data(self) -> bool:
        """Whether this may replace the domain: the new one would be empty, and its name is taken by the old one."""
        return self.resource_type == _DOMAIN and self.replacement is not Replacement.NO


def read_change(change: ResourceChangeTypeDef) -> StackChange:
    """Read a change from CloudFormation's description."""
    targets = [detail.get("Target", {}) for detail in change.get("Details", [])]
    causes = {target.get("Name", "") for target in targets if target.get("RequiresRecreation", "Never") != "Never"}
    return StackChange(
        change.get("Action", ""),
        change.get("LogicalResourceId", ""),
        change.get("ResourceType", ""),
        Replacement(change.get("Replacement", Replacement.NO)),
        tuple(sorted(causes - {""})),
    )
