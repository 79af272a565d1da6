"""Promises about announcements: each channel gets each finding, and an error leaves the rest for the next run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from worker.detect.announcement import Announcer, summary
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Channels:
    """A topic and a receiver that remember what they got; the receiver may refuse."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.published: list[tuple[str, str, str, dict[str, str]]] = []
        self.posted: list[tuple[str, list[str]]] = []
        self._refuses = refuses

    def publish(self, subject: str, text: str, *, id_: str, attributes: Mapping[str, str]) -> None:
        self.published.append((subject, text, id_, dict(attributes)))

    def post(self, text: str, findings: Mapping[str, Any]) -> None:
        if self._refuses:
            raise SetupError("The webhook takes no finding.")
        self.posted.append((text, list(findings)))


def finding(title: str = "Console login", level: str = "high") -> dict[str, Any]:
    return {"rule": {"id": "r1", "title": title, "level": level}, "events": {"ids": ["e\u009b1"]}}


def test_each_channel_gets_each_finding() -> None:
    """Who watches one of them must not miss anything."""
    channels, lines = Channels(), list[str]()

    Announcer(lines.append, channels, channels)({"f1": finding(), "f2": finding("Trail stopped", "")})

    assert [json.loads(line)["id"] for line in lines] == ["f1", "f2"]
    assert all(line.isascii() for line in lines)
    assert channels.published[0][0] == "[high] Console login"
    assert channels.published[0][2:] == ("f1", {"rule": "r1", "level": "high"})
    assert channels.posted == [("trailsink: 2 findings: [high] Console login; [finding] Trail stopped", ["f1", "f2"])]


def test_a_webhook_gets_batches() -> None:
    """A receiver has a limit of bytes."""
    channels = Channels()

    Announcer(lambda _: None, webhook=channels)({f"f{number}": finding() for number in range(250)})

    assert [len(ids) for _, ids in channels.posted] == [100, 100, 50]


def test_an_error_of_a_channel_is_the_caller_s_to_handle() -> None:
    """It must not mark the findings as announced."""
    channels = Channels(refuses=True)

    with pytest.raises(SetupError):
        Announcer(lambda _: None, webhook=channels)({"f1": finding()})


def test_a_summary_names_few_rules() -> None:
    """A chat shows one line."""
    findings = {str(number): finding(f"Rule {number}") for number in range(5)}

    assert summary(findings).endswith("[high] Rule 2 and 2 more rules")
