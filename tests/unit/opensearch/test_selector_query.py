"""Promises about selectors as searches: what the index cannot compare as the consumer does is refused."""

from __future__ import annotations

import pytest

from worker.cloudtrail.filters.selectors import Condition, EventSelector
from worker.errors import SetupError
from worker.opensearch.field_kinds import FieldKinds
from worker.opensearch.selector_query import NEVER_LEFT_OUT, left_out_clauses
from worker.pipeline.documents import VALUE_TOO_LONG

KINDS = FieldKinds(
    {
        "eventName": "keyword",
        "errorMessage": "text",
        "errorMessage.keyword": "keyword",
        "eventTime": "date",
        "additionalEventData": "object",
        "additionalEventData.bytesTransferredIn": "long",
        "requestParameters": "flat_object",
    },
    (),
)


def clauses_of(*conditions: Condition) -> object:
    (clause,) = left_out_clauses([EventSelector("a", conditions)], KINDS)
    return clause["bool"]["filter"][0]["bool"]["filter"]


def test_each_operator_is_the_query_that_compares_the_same() -> None:
    """Wildcards in a value are characters."""
    condition = Condition("eventName", frozenset(["A"]), ("B",), ("*?\\",), not_equals=frozenset(["C"]))

    assert clauses_of(condition) == [
        {
            "bool": {
                "filter": [
                    {
                        "bool": {
                            "should": [
                                {"term": {"eventName": {"value": "A"}}},
                                {"prefix": {"eventName": {"value": "B"}}},
                                {"wildcard": {"eventName": {"value": "*\\*\\?\\\\"}}},
                            ],
                            "minimum_should_match": 1,
                        }
                    }
                ],
                "must_not": [{"term": {"eventName": {"value": "C"}}}],
            }
        }
    ]


def test_an_event_belongs_to_the_first_selector_and_odd_ones_to_none() -> None:
    """As the consumer counts them."""
    selectors = [EventSelector(name, (Condition("eventName", frozenset([name])),)) for name in ("A", "B")]

    first, second = left_out_clauses(selectors, KINDS)

    odd = {"terms": {"trailsink.degraded": list(NEVER_LEFT_OUT)}}
    assert first["bool"]["must_not"] == [odd]
    assert second["bool"]["must_not"] == [*first["bool"]["filter"], odd]
    assert VALUE_TOO_LONG not in NEVER_LEFT_OUT


def test_a_text_is_compared_as_a_whole_and_a_number_by_its_value() -> None:
    """A search in a text would find its words."""
    assert "errorMessage.keyword" in str(clauses_of(Condition("errorMessage", frozenset(["A"]))))
    assert "'value': '20'" in str(
        clauses_of(Condition("additionalEventData.bytesTransferredIn", frozenset(["20", "x"])))
    )


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        (Condition("eventTime", starts_with=("2026",)), "does not compare eventTime as text: try the filter on files"),
        (Condition("additionalEventData.bytesTransferredIn", ends_with=("0",)), "try the filter on files"),
        (Condition("additionalEventData.other", frozenset(["A"])), "cannot be searched"),
        (Condition("apiVersion", frozenset(["A"])), "No index has a field apiVersion"),
    ],
)
def test_what_the_index_cannot_answer_is_refused_in_a_sentence(condition: Condition, sentence: str) -> None:
    """A wrong count would be believed."""
    with pytest.raises(SetupError, match=sentence):
        clauses_of(condition)
