"""Documents cannot rot: what they say is held against the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from infra.demo.page import PAGE, comparable
from infra.generate.reference import pages
from worker.cli.main import main
from worker.settings import Settings, variable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = pages()
WRITTEN = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted(DOCS.glob("*.md")) if path.name != "demo.md"),  # what the demo printed
]
MAX_README_LINES = 180
MAX_SENTENCE_WORDS = 25


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The text without code blocks, tables, headings and the targets of links; code in a line counts as one word."""
    text = re.sub(r"^ *```.*?^ *```", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(\||#|!\[|<!--).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "code", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def sentences(text: str) -> list[str]:
    """Sentences, and the items of lists; a colon ends one, as a full stop does."""
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", prose(text))
    return [
        sentence
        for paragraph in paragraphs
        for sentence in re.split(r"(?<=[.!?:])[*)\"]*\s+", " ".join(paragraph.split()))
    ]


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    """`make docs` writes them; a page that was edited by hand, or not written again, is wrong."""
    assert text_of(DOCS / name) == GENERATED[name]


def test_the_readme_is_short() -> None:
    """A pitch, an installation and a first example; everything else has a page."""
    assert len(text_of(ROOT / "README.md").splitlines()) <= MAX_README_LINES


def test_the_first_screen_says_that_this_has_not_run_on_aws() -> None:
    """Whoever reads no further must know it; it stays until somebody has run it there."""
    assert "has not run on AWS" in "\n".join(text_of(ROOT / "README.md").splitlines()[:15])


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_sentences_are_short(path: Path) -> None:
    """Most readers read English as a second language, and at night, when something is wrong."""
    long = [sentence for sentence in sentences(text_of(path)) if len(sentence.split()) > MAX_SENTENCE_WORDS]

    assert long == []


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(path: Path) -> None:
    """Of another page, a picture, or a file of the code."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text_of(path))
    paths = re.findall(r"`((?:worker|infra|tests|docs)/[\w./-]+)`", text_of(path))

    assert [target for target in targets if not (path.parent / target).exists()] == []
    assert [name for name in paths if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", [*WRITTEN, *(DOCS / name for name in GENERATED)], ids=lambda path: path.name)
def test_links_within_pages_lead_to_headings(path: Path) -> None:
    """A heading that was renamed leaves a link that goes nowhere."""
    broken = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text_of(path)):
        page = path.parent / target if target else path
        headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        if anchor not in slugs:
            broken.append(f"{target}#{anchor}")

    assert broken == []


def test_every_document_that_a_command_prints_is_described() -> None:
    """The page promises the members of all of them."""
    titles = re.findall(r"^## (trailsink .+)$", text_of(ROOT / "docs/reference/json.md"), re.MULTILINE)

    undescribed = [name for name in sorted(with_json(main, "trailsink")) if not name.startswith(tuple(titles))]

    assert undescribed == []


def with_json(group: click.Group, prefix: str) -> Iterator[str]:
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if isinstance(command, click.Group):
            yield from with_json(command, f"{prefix} {word}")
        elif command and any("--json" in parameter.opts for parameter in command.params):
            yield f"{prefix} {word}"


def commands(group: click.Group, prefix: str) -> set[str]:
    names: set[str] = set()
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        names |= {f"{prefix} {word}"}
        names |= commands(command, f"{prefix} {word}") if isinstance(command, click.Group) else set()
    return names


@pytest.mark.parametrize(("target", "module"), [("up", "infra.local"), ("demo", "infra.demo")])
def test_make_starts_the_server_that_is_named(target: str, module: str) -> None:
    """Another version than the one that was typed would be tried, without a word."""
    command = ["make", "--dry-run", "--always-make", target, "OPENSEARCH=2.19.1"]

    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert re.search(rf"-m {re.escape(module)} --version 2\.19\.1\b", printed)


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_only_what_exists_is_named(path: Path) -> None:
    """A command, a make target or a setting in a document is one that a reader types."""
    text = text_of(path)
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    code = "\n".join(re.findall(r"`[^`\n]+`|^ *```sh\n.*?^ *```|^\$ [^\n]*", text, re.DOTALL | re.MULTILINE))
    typed = re.findall(r"(?:`|\$ |bin/|^|&& )(trailsink (?:dlq |dashboards )?[a-z]+)", code, re.MULTILINE)

    assert set(typed) <= commands(main, "trailsink")
    assert set(re.findall(r"\bmake ([a-z]+)", code)) <= targets
    assert set(re.findall(r"(?<!_)TRAILSINK_[A-Z0-9_]+(?![A-Z0-9_*])", code)) <= {*map(variable, Settings.model_fields)}


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_no_page_has_a_gap_to_fill(path: Path) -> None:
    """A figure that is not measured yet is not published."""
    assert re.findall(r"^[A-Z]+_[A-Z_]+$", path.read_text(encoding="utf-8"), re.MULTILINE) == []


@pytest.mark.parametrize(
    ("shown", "figure", "on_another_machine"),
    [
        (r"^disk +ok +(\d+) % used", "97", "another machine's disk is as full as it is"),
        (r"^ok +disk: (\d+) % used", "97", "the doctor's line of the same fact"),
        (r"^ok +disk: .* used, (\S+) GiB", "1,024.0", "and as large"),
        (r"^throughput +ok +(\S+) files", "0.1", "as fast as it is"),
        (r"^lag +ok .* file (\S+) old", "9m", "a file waits as long as it takes"),
        (r"^ok +newest event: .* indexed (\S+) ago", "9m", "the doctor's line of the same fact"),
        (r"^ok +files in the bucket: file (\S+) old", "9m", "the doctor's line of the same fact"),
        (r"^ok +clock: (\d+) s", "4", "its clock is as right as it is"),
        (r"^Ready after (\S+) s", "91.5", "a node starts when it is ready"),
    ],
)
def test_the_demo_prints_the_same_on_any_machine(shown: str, figure: str, on_another_machine: str) -> None:
    """What the demo prints is held against docs/demo.md, which another machine has written."""
    page = text_of(PAGE)
    found = re.search(shown, page, re.MULTILINE)
    assert found, f"docs/demo.md has no such line: {on_another_machine}"

    there = page[: found.start(1)] + figure + page[found.end(1) :]

    assert comparable(there) == comparable(page)
