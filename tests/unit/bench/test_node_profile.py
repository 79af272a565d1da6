"""Holds the profile of a node to what it says of each sample."""

from __future__ import annotations

import pytest

from tests.bench.cluster.node_profile import OTHER, PARTS, part_of


def sample(*methods: str) -> dict[str, object]:
    """A sample as `jfr print --json` writes it, innermost method first."""
    split = [method.rpartition(".") for method in methods]
    frames = [{"method": {"type": {"name": kind.replace(".", "/")}, "name": name}} for kind, _, name in split]
    return {"stackTrace": {"frames": frames}}


WRITING = "org.opensearch.index.engine.InternalEngine.indexIntoLucene"
PARSING = "org.opensearch.index.mapper.DocumentParser.parseDocument"


@pytest.mark.parametrize(
    ("part", "methods"),
    [
        ("mapping: flat_object", ["org.opensearch.index.mapper.FlatObjectFieldMapper.parse", PARSING]),
        ("reading the document's JSON", ["tools.jackson.core.json.UTF8StreamJsonParser.nextToken", PARSING]),
        ("Lucene: terms, doc values, points", ["org.apache.lucene.index.IndexingChain.processDocument", WRITING]),
        (
            "_source: compressing, buffering",
            [
                "java.util.zip.Deflater.deflate",
                "org.apache.lucene.index.StoredFieldsConsumer.finishDocument",
                "org.apache.lucene.index.IndexingChain.finishStoredFields",
                WRITING,
            ],
        ),
        (
            "merging segments",
            [
                "java.util.zip.Deflater.deflate",
                "org.apache.lucene.codecs.StoredFieldsWriter.merge",
                "org.apache.lucene.index.SegmentMerger.merge",
            ],
        ),
        (OTHER, ["java.lang.Thread.run"]),
    ],
)
def test_a_sample_belongs_to_what_its_stack_is_about(part: str, methods: list[str]) -> None:
    """What is done for a merge is the merge's, whatever it is: the first part that fits counts."""
    assert part_of(sample(*methods)) == part
    assert part in (*PARTS, OTHER)


def test_a_sample_without_a_stack_is_counted() -> None:
    """A thread may end while it is looked at; its time was spent all the same."""
    assert part_of({"stackTrace": None}) == OTHER
