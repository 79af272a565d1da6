"""Each of 66 common questions is answered as a scan of the records answers it."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Any

from tests.support.cli import trailsink
from tests.support.event_files import log_file, real_files, real_records
from tests.support.questions import GROUPINGS, QUESTIONS, rare_events
from tests.support.search_truth import flatten, texts
from worker.opensearch.counts import EventCounts
from worker.opensearch.field_kinds import read_field_kinds
from worker.opensearch.query import translate
from worker.opensearch.search import Search, SearchSession

if TYPE_CHECKING:
    from tests.conftest import Bench


def test_common_questions_are_answered_truly(bench: Bench) -> None:
    """The searches are those that docs/searching.md teaches; grouping uses what OpenSearch itself cannot group by."""
    for key, body in real_files().items():
        bench.put(key, body)
    rare = rare_events()
    bench.put("AWSLogs/rare.json.gz", log_file(*rare))
    assert trailsink("run", "--until-idle", "--timeout", "150").returncode == 0
    bench.count()  # makes them searchable
    flat = {record["eventID"]: flatten(record) for record in (*real_records(), *rare)}
    kinds = read_field_kinds(bench.opensearch, bench.prefix)

    for question in QUESTIONS:
        expected = sorted(id_ for id_, record in flat.items() if question.holds(record))
        clause = translate(question.query, kinds, ignore_case=question.ignore_case)
        answer: Any = bench.opensearch.search(
            index=f"{bench.prefix}-*", body={"query": clause, "size": 10_000, "_source": ["eventID"]}
        )
        assert sorted(hit["_source"]["eventID"] for hit in answer["hits"]["hits"]) == expected, question
        assert expected, question

    for grouping in GROUPINGS:
        session = SearchSession(bench.opensearch, Search(bench.prefix, grouping.query))
        counts = EventCounts(grouping.paths)
        for page in session.pages():
            for hit in page:
                counts.add(hit)
        values = [
            [list(dict.fromkeys(texts(record, path))) for path in grouping.paths]
            for record in flat.values()
            if grouping.query == "*" or _matches(grouping.query, record)
        ]
        expected_counts = Counter(key for lists in values for key in product(*lists))
        assert {key: group.count for key, group in counts.groups.items()} == expected_counts, grouping
        assert expected_counts, grouping


def _matches(query: str, record: dict[str, list[str]]) -> bool:
    name, _, value = query.partition(":")
    return value in texts(record, name) if value != "*" else bool(texts(record, name))


def test_the_parameters_that_people_group_by_can_be_grouped_by_the_server(bench: Bench) -> None:
    """Panels, monitors and other people's searches have only OpenSearch's own aggregations."""
    for key, body in real_files().items():
        bench.put(key, body)
    assert trailsink("run", "--until-idle", "--timeout", "150").returncode == 0
    bench.count()  # makes them searchable

    for name in ("bucketName", "roleArn", "policyArn", "secretId", "instanceType", "userName", "name"):
        groups = {"groups": {"terms": {"field": f"trailsink.request.{name}", "size": 10_000}}}
        answer: Any = bench.opensearch.search(index=f"{bench.prefix}-*", body={"size": 0, "aggs": groups})
        found = {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["groups"]["buckets"]}
        parameters = [record.get("requestParameters") or {} for record in real_records()]
        expected = Counter(str(one[name]) for one in parameters if isinstance(one.get(name), (str, int)))

        assert found == expected, name
        assert expected, name
