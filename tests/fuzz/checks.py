"""Runs one changed input through the consumer, and checks that everything in it is accounted for."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections import Counter
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

from tests.fuzz.mutations import KEY, file_content, file_text, notification
from tests.support.factories import message, s3_notice
from tests.support.fakes import make_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fakes import FakePipeline
    from worker.pipeline.accounting import BatchResult

# Of CPU. Every input is smaller than 100 KiB.
SECONDS = 5.0


class Fuzzer:
    """Runs numbered cases. A case's input depends on `seed` and its number alone."""

    def __init__(self, pipeline: FakePipeline, seed: int) -> None:
        self._pipeline, self._seed = pipeline, seed

    def run(self, number: int) -> None:
        """Run one case; raises AssertionError when something in it is lost, doubled, handed back or slow."""
        chance = Random(f"{self._seed}:{number}")
        pipeline = self._pipeline
        pipeline.index.documents.clear()
        pipeline.index.bodies.clear()
        pipeline.queue.letters.clear()
        is_file = chance.random() < 0.7
        content = file_content(chance) if is_file else gzip.compress(file_text(chance))
        body = s3_notice(KEY) if is_file else notification(chance)
        pipeline.store.put(KEY, content)
        began = time.process_time()  # not the wall's: a machine may be busy with others
        result = pipeline.consume(message(body))
        seconds = time.process_time() - began
        assert seconds < SECONDS, f"{seconds:.1f} s"
        self._check_accounts(result)
        if is_file:
            self._check_records(content, result)

    def _check_accounts(self, result: BatchResult) -> None:
        """Nothing goes back, because all neighbours are well; whatever was announced has an outcome."""
        assert result.crashes == (), result.crashes
        assert result.failed == ()
        letters, documents = self._pipeline.queue.letters, self._pipeline.index.documents
        assert result.files or result.ignored or letters
        for tally in result.files:
            assert tally.is_balanced or (tally.problem and not tally.read), tally
        assert bool(letters) == bool(result.malformed or any(tally.reason for tally in result.files))
        assert len(documents) == sum(tally.indexed + tally.degraded for tally in result.files)
        for document in documents.values():
            assert document["trailsink"]["object"].startswith("s3://")
            assert not any(name.startswith("trailsink.") for name in document)

    def _check_records(self, content: bytes, result: BatchResult) -> None:
        """Every record that Python's own parser finds in the file is in the index, once for each content."""
        expected = readable_records(content)
        if expected is None or not result.files:
            return
        (tally,) = result.files
        assert tally.read == len(expected), (tally.read, len(expected))
        found = Counter(canonical(original(document)) for document in self._pipeline.index.documents.values())
        contents = {canonical(record) for record in expected if isinstance(record, dict)}
        assert found.keys() == contents
        assert tally.rejected == sum(not isinstance(record, dict) for record in expected)


def readable_records(content: bytes) -> list[Any] | None:
    """The records of a file that is good by the letter of gzip and JSON, else None."""
    try:
        text = gzip.decompress(content).decode()
        root = json.loads(text, parse_constant=_refuse, object_pairs_hook=_refuse_repeated)
        json.dumps(root, ensure_ascii=False).encode()
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        return None
    records = root.get("Records") if isinstance(root, dict) else None
    return records if isinstance(records, list) and len(root) == 1 else None


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError
    return members


def original(document: dict[str, Any]) -> dict[str, Any]:
    """The record of a document, from its full text where it is degraded."""
    if "raw" in document["trailsink"]:
        record: dict[str, Any] = json.loads(document["trailsink"]["raw"])
        return record
    return {name: value for name, value in document.items() if name not in ("@timestamp", "trailsink")}


def canonical(record: dict[str, Any]) -> str:
    """Text that is equal for equal contents."""
    return json.dumps(record, sort_keys=True)


@contextmanager
def make_fuzzer(seed: int) -> Iterator[Fuzzer]:
    """Make a fuzzer with a pipeline of its own."""
    with make_pipeline() as pipeline:
        yield Fuzzer(pipeline, seed)
