"""Holds searches against a scan of the records: the same events, whatever is asked.

`TRAILSINK_TEST_QUERIES=10000 make test` asks more.
"""

from __future__ import annotations

import os
import re
import uuid
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from opensearchpy import OpenSearch

from infra.local.node import DEFAULT_VERSION
from tests.support.cli import trailsink
from tests.support.event_files import log_file, real_files, real_records
from tests.support.questions import (
    GROUPINGS,
    QUESTIONS,
    anywhere,
    equal,
    exists,
    like,
    network,
    number,
    rare_events,
)
from tests.support.search_truth import Clauses, Record, flatten, texts
from worker.errors import SetupError
from worker.opensearch.counts import EventCounts
from worker.opensearch.field_kinds import read_field_kinds
from worker.opensearch.profiles import Profile
from worker.opensearch.query import translate
from worker.opensearch.search import Search, SearchSession
from worker.opensearch.server import version_number
from worker.opensearch.setup import SetupOptions, install
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.local.stack import Stack
    from tests.support.search_truth import Predicate

QUERIES = int(os.environ.get("TRAILSINK_TEST_QUERIES", "300"))
SEED = 23
VERSION = os.environ.get("TRAILSINK_TEST_OPENSEARCH_VERSION", DEFAULT_VERSION)

DOCUMENT = Path(__file__).parents[2] / "docs" / "searching.md"
ROW = re.compile(
    r"\| [^|]+ \| `(?P<query>[^`]+)` \| \**(?P<old>yes|no)\** \| \**(?P<new>yes|no)\** \| \**(?P<dynamic>yes|no)\** \|"
)

TRUTH: dict[str, Predicate] = {
    "eventName:DeleteTrail": equal("eventName", "DeleteTrail"),
    "eventName:*Bucket*": like("eventName", "*Bucket*"),
    'source.ip:"192.168.0.0/16"': network("192.168.0.0/16"),
    'errorMessage:"not authorized"': like("errorMessage", "*not authorized*", fold=True),
    'requestParameters.roleName:"stratus-red-team-usr-data-role"': equal(
        "requestParameters.roleName", "stratus-red-team-usr-data-role"
    ),
    "requestParameters.bucketName:stratus*": like("requestParameters.bucketName", "stratus*"),
    "trailsink.request.bucketName:*red-team*": like("requestParameters.bucketName", "*red-team*"),
    "requestParameters.bucketName:/.*red-team.*/": like("requestParameters.bucketName", "*red-team*"),
    "requestParameters.bucketName:*red-team*": like("requestParameters.bucketName", "*red-team*"),
    'requestParameters:"0.0.0.0/0"': anywhere("requestParameters", "0.0.0.0/0"),
    "requestParameters:/.*red-team.*/": anywhere("requestParameters", "*red-team*"),
    "requestParameters:*red-team*": anywhere("requestParameters", "*red-team*"),
    "trailsink.values.requestParameters:*red-team*": anywhere("requestParameters", "*red-team*"),
    "_exists_:requestParameters.bucketName": exists("requestParameters.bucketName"),
    "_exists_:responseElements.credentials": exists("responseElements.credentials"),
    "_field_names:responseElements.credentials": exists("responseElements.credentials"),
    "requestParameters.maxResults:1000": equal("requestParameters.maxResults", "1000"),
    "requestParameters.maxResults:[50 TO 100]": number(
        "requestParameters.maxResults", lambda value: 50 <= value <= 100
    ),
}


@dataclass(frozen=True)
class Trail:
    """The indices of a prefix, and the texts of the same records by event id."""

    opensearch: OpenSearch
    prefix: str
    profile: str
    records: dict[str, Record]

    def ask(self, query: dict[str, Any]) -> list[str]:
        """The ids of the events that a query of the DSL finds."""
        # Of thousands of queries, most of the time would go into reading documents.
        body = {"query": query, "size": 10_000, "stored_fields": "_none_", "seq_no_primary_term": True}
        answer: Any = self.opensearch.search(index=f"{self.prefix}-*", body=body)
        return sorted(self.ids[hit["_index"], hit["_seq_no"]] for hit in answer["hits"]["hits"])

    @cached_property
    def ids(self) -> dict[tuple[str, int], str]:
        """The id of each event, by what names a document in its index of one shard."""
        body = {"size": 10_000, "_source": ["eventID"], "seq_no_primary_term": True}
        answer: Any = self.opensearch.search(index=f"{self.prefix}-*", body=body)
        return {(hit["_index"], hit["_seq_no"]): hit["_source"]["eventID"] for hit in answer["hits"]["hits"]}

    def scan(self, holds: Predicate) -> list[str]:
        """The ids of the records for which a predicate holds."""
        return sorted(id_ for id_, record in self.records.items() if holds(record))


@pytest.fixture(scope="module", params=["flat", "dynamic", "mixed"])
def trail(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Trail]:
    """Real files and some rare events, loaded once for all tests of this module.

    In each profile that the server has, and half of them in either: an index of a day, and later one of a month.
    """
    if request.param != "flat" and not has_dynamic_properties():
        pytest.skip("the profile dynamic needs OpenSearch 3.7")
    stack.reset()
    prefix, rare = f"t{uuid.uuid4().hex[:8]}", rare_events()
    files = {**real_files(), "AWSLogs/rare.json.gz": log_file(*rare)}
    early = dict.fromkeys(sorted(files)[::2] if request.param == "mixed" else ())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (stack.environment | {"TRAILSINK_INDEX_PREFIX": prefix}).items():
            patch.setenv(name, value)
        client = OpenSearch([load_settings().opensearch_url], timeout=60)
        if early:
            list(install(client, SetupOptions(prefix, replicas=0, profile=Profile.FLAT)))
            load({key: files.pop(key) for key in early})
            patch.setenv("TRAILSINK_INDEX_PARTITION", "month")
        profile = Profile.FLAT if request.param == "flat" else Profile.DYNAMIC
        partition = load_settings().index_partition
        list(install(client, SetupOptions(prefix, replicas=0, profile=profile, partition=partition, force=True)))
        load(files)
    client.indices.refresh(index=f"{prefix}-*")
    yield Trail(
        client, prefix, request.param, {record["eventID"]: flatten(record) for record in (*real_records(), *rare)}
    )
    client.indices.delete(index=f"{prefix}-*", ignore_unavailable=True)
    client.indices.delete_index_template(name=f"trailsink-{prefix}", params={"ignore": 404})


def load(files: dict[str, bytes]) -> None:
    """Put files into the bucket, and load them."""
    bucket, s3 = load_settings().bucket, boto3.client("s3")
    for key, body in files.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    assert trailsink("run", "--until-idle", "--timeout", "450").returncode == 0


def has_dynamic_properties() -> bool:
    """Whether the node of this run is of a version that has the profile."""
    return version_number(VERSION) >= (3, 7)


@pytest.mark.timeout(360 + QUERIES)
def test_a_search_finds_what_a_scan_of_the_records_finds(trail: Trail) -> None:
    """A contains-search that finds nothing where there are 162 events is worse than no search."""
    chance = Random(SEED)
    clauses = [Clauses(list(trail.records.values()), chance, ignore_case=ignored) for ignored in (False, True)]
    kinds = read_field_kinds(trail.opensearch, trail.prefix)
    for turn in range(QUERIES if trail.profile == "flat" else QUERIES // 3):
        ignore_case = turn % 3 == 0
        query, predicate = clauses[ignore_case].query()
        expected = trail.scan(predicate)

        try:
            found = trail.ask(translate(query, kinds, ignore_case=ignore_case))
        except SetupError as refusal:  # a word cannot hold a line break; in quotes it can
            if "\\\n" not in query and "too long to be compared" not in str(refusal):
                raise
            continue

        assert found == expected, (turn, query, ignore_case, len(found), len(expected))


def test_common_questions_are_answered_truly(trail: Trail) -> None:
    """Who, from where, what was refused, what was opened: what guides and benchmarks ask of CloudTrail."""
    kinds = read_field_kinds(trail.opensearch, trail.prefix)
    for question in QUESTIONS:
        expected = trail.scan(question.holds)

        assert trail.ask(translate(question.query, kinds, ignore_case=question.ignore_case)) == expected, question
        assert expected, question


def test_events_are_counted_by_any_path(trail: Trail) -> None:
    """The server groups by no path of a free-form field."""
    for grouping in GROUPINGS:
        session = SearchSession(trail.opensearch, Search(trail.prefix, grouping.query))
        counts = EventCounts(grouping.paths)
        for page in session.pages():
            for hit in page:
                counts.add(hit)
        expected = Counter(
            key
            for record in trail.records.values()
            if grouping.holds(record)
            for key in product(*(dict.fromkeys(texts(record, path)) for path in grouping.paths))
        )

        assert {key: group.count for key, group in counts.groups.items()} == expected, grouping
        assert expected, grouping


def test_the_parameters_that_people_group_by_can_be_grouped_by_the_server(trail: Trail) -> None:
    """Panels, monitors and other people's searches have only OpenSearch's own aggregations."""
    for name in ("bucketName", "roleArn", "policyArn", "secretId", "instanceType", "userName", "name"):
        groups = {"groups": {"terms": {"field": f"trailsink.request.{name}", "size": 10_000}}}
        answer: Any = trail.opensearch.search(index=f"{trail.prefix}-*", body={"size": 0, "aggs": groups})
        found = {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["groups"]["buckets"]}
        expected = Counter(
            text for record in trail.records.values() for text in texts(record, f"requestParameters.{name}")
        )

        assert found == expected, name
        assert expected, name


def test_the_document_says_what_a_query_string_finds(trail: Trail) -> None:
    """An analyst who types what it says is right. Where it says no, a server has not become right meanwhile."""
    if trail.profile == "mixed":
        pytest.skip("the document has no column for indices of both profiles")
    column = "dynamic" if trail.profile == "dynamic" else "old" if VERSION.startswith("2.") else "new"
    rows = [match.groupdict() for match in ROW.finditer(DOCUMENT.read_text(encoding="utf-8"))]
    answers = {}
    for query, holds in TRUTH.items():
        truth = trail.scan(holds)
        answers[query] = "yes" if trail.ask({"query_string": {"query": query}}) == truth else "no"
        assert truth, query

    assert answers == {row["query"]: row[column] for row in rows}


def test_the_dynamic_profile_lets_the_server_group_by_any_path(trail: Trail) -> None:
    """Panels have nothing but the server's own aggregations."""
    if trail.profile != "dynamic":
        pytest.skip("a flat_object cannot be grouped by")
    for path in ("requestParameters.bucketName", "responseElements.ConsoleLogin", "requestParameters.maxResults"):
        groups = {"groups": {"terms": {"field": path, "size": 10_000}}}
        answer: Any = trail.opensearch.search(index=f"{trail.prefix}-*", body={"size": 0, "aggs": groups})
        found = {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["groups"]["buckets"]}
        expected = Counter(text for record in trail.records.values() for text in dict.fromkeys(texts(record, path)))

        assert found == expected, path
        assert expected, path
