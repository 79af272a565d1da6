"""`make demo`: the main road on real parts, from uploaded files to searches, a broken file and its mending.

Every count is checked against what was uploaded; the exit code is 1 when one is off.
"""

import argparse
import gzip
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch
from rich.table import Table

from infra.local.errors import LocalStackError
from infra.local.roads import ContainerRoad, FunctionRoad, Road, Totals
from infra.local.stack import Stack
from infra.local.telling import heading, out, say
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef

DATA = Path(__file__).parents[2] / "tests" / "data"
ACCOUNT = "AWSLogs/218007301253/CloudTrail/us-east-1/2023/07/10/218007301253_CloudTrail_us-east-1_"
TRUNCATED = f"{ACCOUNT}20230710T1230Z_KV9LZlfXqBel7nqf.json.gz"
ANNOUNCED_TWICE = 10
BUCKET = "stratus-red-team-ctlr-bucket-zqfsvooxqj"  # no call on it is in the file that is cut in half
PREFIX = "demo-cloudtrail"  # of its own: the server may be somebody's, with indices of theirs
INDICES = f"{PREFIX}-*"

SEARCHABLE_SECONDS = 60

ROADS: dict[str, type[Road]] = {"function": FunctionRoad, "container": ContainerRoad}


@dataclass
class Uploaded:
    """What was put into the bucket, to hold the counts against."""

    files: int = 0
    ids: set[str] = field(default_factory=set)
    calls_on_bucket: int = 0
    at: float = 0.0


class Demo:
    """One run of the demo down one road."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self.opensearch = OpenSearch([road.stack.opensearch_url], timeout=60)
        self.uploaded = Uploaded()
        self.clear()

    def run(self) -> bool:
        """Go down the road; returns whether every count was right."""
        heading(f"1. {self.road.begins_with}")
        self.road.set_up()
        heading("2. Real CloudTrail files into the bucket, and some trouble")
        self.upload()
        heading("3. The queue is drained")
        self.show_outcomes(self.road.consume())
        heading("4. Searches that people make")
        self.search()
        heading("5. What could not be indexed is in the dead-letter queue, with its reason")
        self.road.trailsink("dlq", "list")
        heading("6. The truncated file is mended and redriven")
        self.mend()
        heading("7. Is anything missing?")
        self.show_missing()
        heading("8. Is the pipeline as it should be?")
        self.road.trailsink("doctor")
        heading("9. A clean way out")
        self.road.leave()
        return self.show_end()

    def clear(self) -> None:
        """Leave a server as it was: neither an earlier demo nor this one may be found on it."""
        self.opensearch.indices.delete(index=INDICES, params={"ignore_unavailable": "true"})
        self.opensearch.indices.delete_index_template(name=f"trailsink-{PREFIX}", params={"ignore": 404})

    def upload(self) -> None:
        """Put everything into the bucket; S3 announces each object to the queue."""
        for path in sorted((DATA / "AWSLogs").rglob("*.json.gz")):
            key = path.relative_to(DATA).as_posix()
            body = path.read_bytes()
            if "CloudTrail-Digest" not in key:
                self.note(body)
            self.put(key, body[: len(body) // 2] if key == TRUNCATED else body)
        self.put("AWSLogs/218007301253/CloudTrail/", b"")
        odd = {
            "eventID": "demo-neighbour",
            "eventTime": "2023-07-10T12:00:00Z",
            "eventName": "Demo",
            "eventSource": "demo",
        }
        self.put(
            f"{ACCOUNT}20230710T1300Z_OneRecordIsNone0.json.gz",
            gzip.compress(json.dumps({"Records": [odd, 42]}).encode()),
        )
        self.uploaded.ids.add("demo-neighbour")
        keys = [one["Key"] for one in self.road.s3.list_objects_v2(Bucket=self.road.bucket)["Contents"]]
        again = [key for key in keys if "_CloudTrail_" in key and key != TRUNCATED][:ANNOUNCED_TWICE]
        for key in again:
            notice = s3_notification(ObjectRef(self.road.bucket, key))
            self.road.sqs.send_message(QueueUrl=self.road.queue_url, MessageBody=notice)
        self.uploaded.at = time.monotonic()
        files, events = self.uploaded.files - 3, len(self.uploaded.ids) - 1
        say(
            f"{files} delivery files with {events:,} events, one of them cut in half;\n"
            f"a file with a record that is no JSON object, a digest, a folder marker;\n"
            f"{len(again)} files announced twice."
        )

    def put(self, key: str, body: bytes) -> None:
        """Upload one object."""
        self.road.s3.put_object(Bucket=self.road.bucket, Key=key, Body=body)
        self.uploaded.files += 1

    def note(self, body: bytes) -> None:
        """Remember which events a file holds."""
        records = json.loads(gzip.decompress(body))["Records"]
        self.uploaded.ids |= {record["eventID"] for record in records}
        asked = [record.get("requestParameters") or {} for record in records]
        self.uploaded.calls_on_bucket += sum(parameters.get("bucketName") == BUCKET for parameters in asked)

    def show_outcomes(self, totals: Totals) -> None:
        """Show what became of every file and record."""
        table = Table("", "", "count", box=None, show_header=False, pad_edge=False)
        table.columns[2].justify = "right"
        for name, value in sorted(totals["ignored"].items()):
            table.add_row("notices", f"ignored: {name}", f"{value:,}")
        for name in ("Indexed", "DeadLettered", "HandedBack"):
            table.add_row("files", WORDS[name], f"{totals['Files' + name]:,.0f}")
        for name in ("Read", "Indexed", "Duplicate", "Degraded", "Rejected"):
            table.add_row("records", name.lower(), f"{totals['Records' + name]:,.0f}")
        out.print(table)
        ended = sum(totals[f"Records{name}"] for name in ("Indexed", "Duplicate", "Degraded", "Rejected"))
        self.check("read = indexed + duplicate + degraded + rejected", totals["RecordsRead"], ended)
        self.check("dead letters", totals["DeadLetters"], 2)
        self.check("ignored by name", set(totals["ignored"]) & MARKERS, self.road.announces)
        searchable = self.wait_until_searchable(int(totals["RecordsIndexed"]))
        working = totals["TotalSeconds"]
        rate, seconds = totals["RecordsRead"] / working, searchable - self.uploaded.at
        say(
            f"{rate:,.0f} events per second in {working:.1f} s of work, on servers just started.\n"
            f"All searchable {seconds:.1f} s after the last upload (refresh is every 10 s)."
        )

    def wait_until_searchable(self, expected: int) -> float:
        """Ask, as a user would, until everything that was indexed is found."""
        until = time.monotonic() + SEARCHABLE_SECONDS
        while (found := self.count()) < expected and time.monotonic() < until:
            time.sleep(0.1)
        self.check("documents that a search finds", found, expected)
        return time.monotonic()

    def count(self) -> int:
        """Count the documents that a search finds now."""
        return int(self.opensearch.count(index=INDICES)["count"])

    def search(self) -> None:
        """Show three searches that people really make."""
        query = "eventName:AssumeRole AND userIdentity.arn:* AND NOT errorCode:*"
        roles = Counter((caller(hit), role(hit)) for hit in self.hits(query))
        self.check("roles assumed", bool(roles), expected=True)
        show(
            f"Who assumed which role?\n  {query}",
            ("caller", "role", "times"),
            [(*who, n) for who, n in roles.most_common(4)],
        )
        query = f"requestParameters.bucketName:{BUCKET}"
        calls = Counter((hit["eventName"], hit.get("errorCode", "-")) for hit in self.hits(query))
        self.check("calls on one bucket", sum(calls.values()), self.uploaded.calls_on_bucket)
        show(
            f"Every call on one bucket?\n  {query}",
            ("call", "error", "times"),
            [(*call, n) for call, n in calls.most_common(4)],
        )
        found = self.opensearch.search(
            index=INDICES, body={"size": 0, "aggs": {"codes": {"terms": {"field": "errorCode", "size": 4}}}}
        )
        codes = [(one["key"], one["doc_count"]) for one in found["aggregations"]["codes"]["buckets"]]
        show("Which calls failed?\n  terms of errorCode", ("error", "times"), codes)

    def hits(self, query: str) -> list[dict[str, Any]]:
        """Return the events that a query string finds."""
        body = {"size": 1000, "query": {"query_string": {"query": query}}}
        return [hit["_source"] for hit in self.opensearch.search(index=INDICES, body=body)["hits"]["hits"]]

    def mend(self) -> None:
        """Upload the whole file over its broken half, and let the letter try again."""
        whole = (DATA / TRUNCATED).read_bytes()
        self.road.s3.put_object(Bucket=self.road.bucket, Key=TRUNCATED, Body=whole)
        self.road.trailsink("dlq", "redrive", "--reason", "truncated")
        totals = self.road.consume()
        records = json.loads(gzip.decompress(whole))["Records"]
        self.check("dead letters of the mended file", totals["DeadLetters"], 0)
        say(
            f"The file holds {len(records)} records: {totals['RecordsIndexed']:,.0f} are new; of the half that was\n"
            f"there, and of what S3 and the letter announce twice, {totals['RecordsDuplicate']:,.0f} are duplicates."
        )

    def show_missing(self) -> None:
        """Hold the index against what was uploaded."""
        self.opensearch.indices.refresh(index=INDICES)
        hits = self.opensearch.search(index=INDICES, body={"size": 10_000, "_source": False})["hits"]["hits"]
        found = {hit["_id"] for hit in hits}
        missing, twice = len(self.uploaded.ids - found), len(hits) - len(found)
        say(f"{len(self.uploaded.ids):,} events uploaded, {len(found):,} found, {missing} missing, {twice} twice.")
        self.check("events found", found, self.uploaded.ids)

    def show_end(self) -> bool:
        """Say what was off, if anything."""
        for line in self.road.wrong:
            out.print(f"[red]WRONG[/] {line}")
        return not self.road.wrong

    def check(self, what: str, found: object, expected: object) -> None:
        """Remember a count that is off."""
        self.road.check(what, found, expected)


WORDS = {"Indexed": "indexed", "DeadLettered": "dead-lettered", "HandedBack": "handed back"}
MARKERS = {"digest", "folder_marker"}


def caller(event: dict[str, Any]) -> str:
    """Say who called, without the account."""
    return str(event["userIdentity"].get("arn", "-")).split(":", 5)[-1]


def role(event: dict[str, Any]) -> str:
    """Say which role was asked for, without the account."""
    asked = event.get("requestParameters") or {}
    return str(asked.get("roleArn", "-")).split(":", 5)[-1]


def show(question: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Show the answer to a search."""
    out.print(question, style="italic", markup=False)
    table = Table(*columns, box=None, header_style="dim", pad_edge=False)
    for row in rows:
        table.add_row(*map(str, row))
    out.print(table)


def main() -> int:
    """Run the demo on a stack of its own."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.demo", description=__doc__)
    parser.add_argument(
        "road", nargs="?", choices=ROADS, default="function", help="the deployed function (default), or a process"
    )
    road = ROADS[parser.parse_args().road]
    began = time.monotonic()
    try:
        say("Starting OpenSearch, and a stand-in for AWS (the first time, Maven brings the server).")
        with Stack(quick=False) as stack:
            say(f"After {time.monotonic() - began:.1f} s OpenSearch answers at {stack.opensearch_url},")
            say(f"S3, SQS, Lambda and CloudFormation at {stack.aws.url}.")
            demo = Demo(road(stack, PREFIX))
            try:
                right = demo.run()
            finally:
                demo.clear()
    except LocalStackError as error:
        out.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        say("Interrupted; everything is stopped.")
        return 130
    if right:
        say(f"\nEvery count is right. Done in {time.monotonic() - began:.0f} s, all is stopped.")
        say("`make up` keeps a stack to try things on.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
