"""Names are the field's terms: whoever knows CloudTrail, SQS, OpenSearch and Python can read the code."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER = Path(__file__).parents[2] / "worker"
MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(WORKER.rglob("*.py"))}

# Words of conversation. As names they say nothing: "found" is a what, and "one" is of which.
CONVERSATIONAL = frozenset(
    [
        "one",
        "found",
        "told",
        "given",
        "there",
        "at",
        "said",
        "wanted",
        "some",
        "several",
        "asked",
        "ours",
        "theirs",
        "most",
        "least",
        "began",
        "seen",
        "here",
        "made",
        "looked",
        "known",
        "meant",
        "came",
        "went",
        "gone",
        "taken",
        "kept",
        "left",
        "done",
        "more",
        "much",
        "such",
        "thing",
        "what",
        "who",
        "same",
        "again",
    ]
)
MAX_SHARE = 0.01
MAX_CLASS_LINES = 160
MAX_FILE_LINES = 300


def bound_names(tree: ast.Module) -> Iterator[str]:
    """Names bound by assignments, loops, `with`, `except` and patterns, and parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name


def classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for path, tree in MODULES.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def test_names_are_terms_and_not_conversation() -> None:
    """One in a hundred may be a word like `found`, where nothing better is to be said."""
    names = [name for tree in MODULES.values() for name in bound_names(tree)]

    conversational = [name for name in names if name.strip("_") in CONVERSATIONAL]

    assert len(conversational) <= MAX_SHARE * len(names), f"{len(conversational)} of {len(names)}"


def test_no_two_classes_share_a_name() -> None:
    """A name that means two things has to be looked up each time; an underscore makes no difference."""
    places = defaultdict(list)
    for path, node in classes():
        places[node.name.lstrip("_")].append(path.name)

    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_class_is_too_long_to_be_kept_in_mind() -> None:
    """A long class is two that nobody took apart."""
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for _, node in classes()}

    assert {name: lines for name, lines in lengths.items() if lines > MAX_CLASS_LINES} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    """Longer ones hold two subjects."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
