"""Tries selectors on the events of the index: how many each would leave out, which they are, and their size."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from worker.cloudtrail.filters.trial import SelectorCounts, TrialCounts
from worker.cloudtrail.picking import ADDED_MEMBERS
from worker.opensearch.complete_search import composite_buckets, search_all_shards
from worker.opensearch.search import within
from worker.opensearch.selector_query import left_out_clauses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.cloudtrail.filters.selectors import EventSelector
    from worker.cloudtrail.filters.trial import EventName
    from worker.opensearch.field_kinds import FieldKinds

    Clause = dict[str, Any]

# Events whose size is measured: the sizes of one kind of event hardly differ.
_SAMPLE = 100

_PAGE = 1_000  # groups of one answer

_EVERYTHING: Clause = {"match_all": {}}


class IndexTrial:
    """The events of a time in the indices of a prefix; needs `indices:data/read/search`.

    Every method raises SetupError, and IndexUnavailable when the cluster does not answer in full.
    """

    def __init__(self, client: OpenSearch, prefix: str, since: datetime | None, until: datetime | None) -> None:
        self._client, self._pattern, self._since, self._until = client, f"{prefix}-*", since, until

    def run(self, selectors: Sequence[EventSelector], kinds: FieldKinds) -> TrialCounts:
        """Count what selectors would leave out."""
        clauses = left_out_clauses(selectors, kinds)
        trial = TrialCounts({}, events := self.count(_EVERYTHING), events * self._mean_size(_EVERYTHING))
        for selector, clause in zip(selectors, clauses, strict=True):
            names: Counter[EventName] = Counter(dict(self.groups(clause, ("eventSource", "eventName"))))
            number = names.total()
            size = self._mean_size(clause) if number else 0.0
            trial.selectors[selector.name] = SelectorCounts(number, number * size, names)
        return trial

    def count(self, clause: Clause) -> int:
        """Return the number of events."""
        response = self._search({"size": 0, "track_total_hits": True, "query": self._query(clause)})
        return int(response["hits"]["total"]["value"])

    def groups(self, clause: Clause, fields: tuple[str, str]) -> Iterator[tuple[tuple[str, str], int]]:
        """Yield the combinations of two fields' values, and the number of events of each; "" is no value."""
        sources = [{field: {"terms": {"field": field, "missing_bucket": True}}} for field in fields]
        for bucket in composite_buckets(self._search, sources, _PAGE, query=self._query(clause)):
            first, second = (str(bucket["key"][field] or "") for field in fields)
            yield (first, second), bucket["doc_count"]

    def most_common(self, clause: Clause, field: str) -> tuple[str, int]:
        """Return the most common value of a field, and its events; "" and 0 where there is none."""
        aggregation = {"values": {"terms": {"field": field, "size": 1}}}
        response = self._search({"size": 0, "query": self._query(clause), "aggs": aggregation})
        buckets = response.get("aggregations", {}).get("values", {}).get("buckets", [])
        return (str(buckets[0]["key"]), int(buckets[0]["doc_count"])) if buckets else ("", 0)

    def _mean_size(self, clause: Clause) -> float:
        """Return the mean size of some events, as CloudTrail writes them."""
        sample = {"function_score": {"query": self._query(clause), "random_score": {}}}
        hits = self._search({"size": _SAMPLE, "query": sample})["hits"]["hits"]
        sizes = [_record_size(hit["_source"]) for hit in hits]
        return sum(sizes) / len(sizes) if sizes else 0.0

    def _query(self, clause: Clause) -> Clause:
        return within(clause, "@timestamp", self._since, self._until)

    def _search(self, body: Clause) -> Any:  # noqa: ANN401 - a foreign answer
        return search_all_shards(self._client, self._pattern, body)


def _record_size(source: Mapping[str, Any]) -> int:
    record = {name: value for name, value in source.items() if name not in ADDED_MEMBERS}
    return len(json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))
