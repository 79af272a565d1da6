"""What a set of rules is once it is translated: values without pySigma."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import timedelta

    Clause = dict[str, Any]

# github.com/SigmaHQ/sigma-specification/blob/main/specification/sigma-rules-specification.md#level
LEVELS = ("informational", "low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """What a rule says of itself. `key` is its id, or a digest of its title; `level` is "" where it has none."""

    key: str
    title: str
    level: str
    tags: tuple[str, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Correlation:
    """Counts the events of a group within a span of time: all, or the different values of `fields` where it has some.

    An event that lacks a field of the group, or one of `fields`, is not counted.
    """

    group_by: tuple[str, ...]
    span: timedelta
    minimum: int
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectionRule:
    """A rule as a clause of the DSL: each event is a finding or, with a correlation, enough of them are."""

    info: RuleInfo
    clause: Clause
    correlation: Correlation | None = None


@dataclass(frozen=True, slots=True)
class RefusedRule:
    """A rule that cannot be searched for, and why in one sentence."""

    info: RuleInfo
    reason: str


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of some files. `others` is the number of rules for other sources of logs, `copies` of equal rules."""

    rules: tuple[DetectionRule, ...]
    refused: tuple[RefusedRule, ...]
    others: int = 0
    copies: int = 0

    def from_level(self, level: str) -> RuleSet:
        """Return the rules of at least this level, and those that have none; all without a level."""
        if not level:
            return self
        included = {"", *LEVELS[LEVELS.index(level) :]}
        rules = tuple(rule for rule in self.rules if rule.info.level in included)
        refused = tuple(rule for rule in self.refused if rule.info.level in included)
        return RuleSet(rules, refused, self.others, self.copies)
