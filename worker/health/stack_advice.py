"""Advice for a stack: typed as it is, it must change that stack and not what the shell points at."""

from __future__ import annotations

import re
import shlex

# Commands that take `--stack`. What is said about one ("trailsink verify has recorded no verdict") is no advice.
_COMMAND = re.compile(
    r"\btrailsink (?:backfill|deploy|destroy|dlq (?:list|redrive)|doctor|hold (?:apply|list|release)|ledger rebuild"
    r"|reindex|run|search|setup|verify)\b(?! (?:--stack|has|are|of|\d))"
)

# A stack's own parameters win over variables.
_PARAMETERS = (
    (re.compile(r"export TRAILSINK_INDEX_PARTITION=(\w+)"), r"trailsink deploy --set IndexPartition=\1"),
    (re.compile(r"set TRAILSINK_RETENTION_DAYS to (\d+)"), r"trailsink deploy --set RetentionDays=\1"),
)


def for_stack(advice: str, stack: str) -> str:
    """Return advice with the commands that act on a stack, where they name none; "" is no stack."""
    if not stack:
        return advice
    name = shlex.quote(stack)
    for pattern, command in _PARAMETERS:
        advice = pattern.sub(command, advice)
    return _COMMAND.sub(lambda found: f"{found[0]} --stack {name}", advice)
