"""Announces findings: as lines of JSON, by SNS, and by a webhook."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from worker.humanize import ascii_json, pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.detect.findings import Finding

_TITLES = 3  # that a summary names
_BATCH = 100  # findings in a request to a webhook, of some kilobytes each


class _Topic(Protocol):
    """Where single findings are published."""

    def publish(self, subject: str, text: str, *, id_: str, attributes: Mapping[str, str]) -> None:
        """Publish a message."""


class _Receiver(Protocol):
    """Where batches of findings are posted."""

    def post(self, text: str, findings: Mapping[str, Finding]) -> None:
        """Post findings."""


class Announcer:
    """Sends findings to each channel in turn; an error of one leaves them unannounced, for the next run."""

    def __init__(
        self, print_line: Callable[[str], None], topic: _Topic | None = None, webhook: _Receiver | None = None
    ) -> None:
        self._print, self._topic, self._webhook = print_line, topic, webhook

    def __call__(self, findings: dict[str, Finding]) -> None:
        """Announce findings; raises SetupError."""
        for id_, finding in findings.items():
            if self._topic:
                rule = finding["rule"]
                attributes = {"rule": rule["id"], "level": rule["level"]}
                self._topic.publish(_subject(finding), _line(id_, finding), id_=id_, attributes=attributes)
        ids = list(findings)
        for start in range(0, len(ids), _BATCH):
            batch = {id_: findings[id_] for id_ in ids[start : start + _BATCH]}
            if self._webhook:
                self._webhook.post(summary(batch), batch)
        for id_, finding in findings.items():
            self._print(_line(id_, finding))


def _line(id_: str, finding: Finding) -> str:
    return ascii_json(json.dumps({"id": id_} | finding, ensure_ascii=False))


def _subject(finding: Finding) -> str:
    rule = finding["rule"]
    return f"[{rule['level'] or 'finding'}] {rule['title']}"


def summary(findings: Mapping[str, Finding]) -> str:
    """Return a line about findings, for a chat."""
    titles = list(dict.fromkeys(_subject(finding) for finding in findings.values()))
    more = f" and {len(titles) - _TITLES} more rules" if len(titles) > _TITLES else ""
    return f"trailsink: {pluralize(len(findings), 'finding')}: {'; '.join(titles[:_TITLES])}{more}"
