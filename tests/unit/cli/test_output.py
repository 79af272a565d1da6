"""Promises about what commands print: no text from outside reaches the terminal's controls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.output import escape_control_characters


@given(st.text())
def test_no_text_controls_the_terminal(text: str) -> None:
    """Callers choose the texts in their events. None may clear the screen of a reader, or reverse its text."""
    shown = escape_control_characters(text)

    assert shown.isprintable()
    assert not any("\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069" for character in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("caf\u00e9 \u65e5\u672c", "caf\u00e9 \u65e5\u672c"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb", r"a\nb"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eexe", r"\u202eexe"),
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    """Different texts stay different, and readable."""
    assert escape_control_characters(text) == shown
