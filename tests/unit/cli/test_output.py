"""Promises about what commands print: no text from outside reaches the terminal's controls."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import threading
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import worker.cli
from worker.cli.output import Safe, announced_wait, join, print_json, print_line, print_table, style
from worker.humanize import escape_control_characters

CLI = Path(worker.cli.__file__).parent
HOSTILE = "\x1b]0;PWNED\x07\x9b2J\u202egz.\u2066\u200b\x7f\r\nok"

# They print texts of their own and of AWS, before the libraries of `output` are loaded or without them.
PRINT_THEMSELVES = {"main.py", "output.py", "template.py"}


def test_one_module_writes_to_the_terminal() -> None:
    """Whoever adds a line cannot forget to escape it: the other ways of printing are not used."""
    writing = {
        path.name
        for path in CLI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("click.echo", "click.secho", "print", "sys.stdout.write", "sys.stderr.write")
    }

    assert writing <= PRINT_THEMSELVES


@given(st.text())
def test_no_line_and_no_table_controls_the_terminal(text: str) -> None:
    """A key, a reason, a user agent: whatever it is, it is one line, and all of it can be seen."""
    output = io.StringIO()
    with redirect_stdout(output):
        print_line("key ", text, " end")
        print_table(["name"], [[text], ["x"]])

    lines = output.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))  # JSON in UTF-8 has no lone surrogates


@given(st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_json_is_ascii_and_unchanged(document: object) -> None:
    """Programs get every character, terminals none of those that they obey."""
    output = io.StringIO()
    with redirect_stdout(output):
        print_json(document)

    line = output.getvalue().removesuffix("\n")
    assert all(" " <= character <= "~" for character in line)
    assert json.loads(line) == document


def test_a_time_is_not_broken_over_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 60 columns `2026-11-29T16:4` stood above `3:15Z`; an ARN can be folded."""
    controller, terminal = pty.openpty()
    monkeypatch.setenv("COLUMNS", "60")
    time, arn = "2026-11-29T16:43:15Z", f"arn:aws:sts::123456789012:assumed-role/{'x' * 60}/session"

    names, rows = ("eventTime", "eventName", "arn"), [(time, "GetAccountPublicAccessBlock", arn)]
    with open(terminal, "w", encoding="utf-8") as screen, redirect_stdout(screen):  # noqa: PTH123 - a descriptor
        print_table(names, rows, whole=names[:2])
    shown = b""
    with suppress(OSError):  # which is how a terminal that nobody writes to any more ends
        while part := os.read(controller, 10_000):
            shown += part
    os.close(controller)
    lines = click.unstyle(shown.decode()).splitlines()

    assert any(line.startswith(f"{time}  GetAccountPublicAccessBlock  ") for line in lines)
    assert len(lines) > 5
    assert max(map(len, lines)) <= 60


def test_a_long_wait_is_announced_and_a_short_one_is_not() -> None:
    """Sixty seconds without a sign look like a command that hangs; a line for each glance is noise."""
    quick, slow, never = io.StringIO(), io.StringIO(), threading.Event()

    with redirect_stderr(quick), announced_wait("OpenSearch", 3_600):
        pass
    with redirect_stderr(slow), announced_wait("OpenSearch", 0.0):
        for _ in range(600):
            if slow.getvalue() or never.wait(0.05):
                break

    assert quick.getvalue() == ""
    assert slow.getvalue() == "Waiting for OpenSearch ...\n"


def test_our_own_colours_are_kept() -> None:
    """Only what is inside of them is escaped."""
    line = join(style(HOSTILE, bold=True), HOSTILE)

    assert isinstance(line, Safe)
    assert line.startswith("\x1b[1m")
    assert click.unstyle(line).isprintable()
    assert join(line) == line


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
