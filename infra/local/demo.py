"""`make demo`: the main road on real parts, from uploaded files to searches, a broken file and its mending.

Every count is checked against what was uploaded; the exit code is 1 when one is off.
"""

import gzip
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from opensearchpy import OpenSearch
from rich.console import Console
from rich.table import Table

from infra.local.errors import LocalStackError
from infra.local.stack import Stack, program_environment
from worker.messages import ObjectRef, announce

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

DATA = Path(__file__).parents[2] / "tests" / "data"
ACCOUNT = "AWSLogs/218007301253/CloudTrail/us-east-1/2023/07/10/218007301253_CloudTrail_us-east-1_"
TRUNCATED = f"{ACCOUNT}20230710T1230Z_KV9LZlfXqBel7nqf.json.gz"
ANNOUNCED_TWICE = 10
BUCKET = "stratus-red-team-ctlr-bucket-zqfsvooxqj"  # no call on it is in the file that is cut in half
PREFIX = "demo-cloudtrail"  # of its own: the server may be somebody's, with indices of theirs
INDICES = f"{PREFIX}-*"

# What a run of the demo may take, at most; on a laptop it takes a few seconds.
RUN_SECONDS = 120
SEARCHABLE_SECONDS = 60

out = Console(width=None if sys.stdout.isatty() else 110, highlight=False)


@dataclass
class Uploaded:
    """What was put into the bucket, to hold the counts against."""

    files: int = 0
    ids: set[str] = field(default_factory=set)
    calls_on_bucket: int = 0
    at: float = 0.0


class Demo:
    """One run of the demo against a running stack."""

    def __init__(self, stack: Stack) -> None:
        self.environment = program_environment(stack.environment | {"TRAILSINK_INDEX_PREFIX": PREFIX})
        self.resources = stack.resources
        credentials: dict[str, Any] = {
            "endpoint_url": stack.aws.url,
            "region_name": self.environment["AWS_REGION"],
            "aws_access_key_id": self.environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.environment["AWS_SECRET_ACCESS_KEY"],
        }
        self.s3: S3Client = boto3.client("s3", **credentials)
        self.sqs: SQSClient = boto3.client("sqs", **credentials)
        self.opensearch = OpenSearch([stack.opensearch_url], timeout=60)
        self.uploaded = Uploaded()
        self.wrong: list[str] = []
        self.clear()

    def run(self) -> bool:
        """Go down the road; returns whether every count was right."""
        heading("1. An index template, before the first index")
        self.trailsink("setup", "--replicas", "0")
        heading("2. Real CloudTrail files into the bucket, and some trouble")
        self.upload()
        heading("3. The consumer drains the queue")
        self.show_outcomes(self.consume())
        heading("4. Searches that people make")
        self.search()
        heading("5. What could not be indexed is in the dead-letter queue, with its reason")
        self.trailsink("dlq", "list")
        heading("6. The truncated file is mended and redriven")
        self.mend()
        return self.show_end()

    def clear(self) -> None:
        """Leave a server as it was: neither an earlier demo nor this one may be found on it."""
        self.opensearch.indices.delete(index=INDICES, params={"ignore_unavailable": "true"})
        self.opensearch.indices.delete_index_template(name=f"trailsink-{PREFIX}", params={"ignore": 404})

    def trailsink(self, *words: str) -> None:
        """Run one command as a user would, and show it."""
        say(f"$ trailsink {' '.join(words)}")
        out.file.flush()
        done = subprocess.run(command(*words), env=self.environment, check=False)
        self.check(f"trailsink {words[0]} ends well", done.returncode, 0)

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
        keys = [one["Key"] for one in self.s3.list_objects_v2(Bucket=self.resources.bucket)["Contents"]]
        again = [key for key in keys if "_CloudTrail_" in key and key != TRUNCATED][:ANNOUNCED_TWICE]
        for key in again:
            notice = announce(ObjectRef(self.resources.bucket, key))
            self.sqs.send_message(QueueUrl=self.resources.queue_url, MessageBody=notice)
        self.uploaded.at = time.monotonic()
        files, events = self.uploaded.files - 3, len(self.uploaded.ids) - 1
        say(
            f"{files} delivery files with {events:,} events, one of them cut in half;\n"
            f"a file with a record that is no JSON object, a digest, a folder marker;\n"
            f"{len(again)} files announced twice."
        )

    def put(self, key: str, body: bytes) -> None:
        """Upload one object."""
        self.s3.put_object(Bucket=self.resources.bucket, Key=key, Body=body)
        self.uploaded.files += 1

    def note(self, body: bytes) -> None:
        """Remember which events a file holds."""
        records = json.loads(gzip.decompress(body))["Records"]
        self.uploaded.ids |= {record["eventID"] for record in records}
        asked = [record.get("requestParameters") or {} for record in records]
        self.uploaded.calls_on_bucket += sum(parameters.get("bucketName") == BUCKET for parameters in asked)

    def consume(self) -> dict[str, Any]:
        """Run the consumer until the queue is empty; returns its totals."""
        words = ("run", "--until-idle", "--timeout", str(RUN_SECONDS))
        say(f"$ trailsink {' '.join(words)}")
        done = subprocess.run(command(*words), env=self.environment, check=False, text=True, stdout=subprocess.PIPE)
        self.check("trailsink run ends well", done.returncode, 0)
        totals: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return totals

    def show_outcomes(self, totals: dict[str, Any]) -> None:
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
        self.check("ignored digest files and folder markers", sum(totals["ignored"].get(one, 0) for one in MARKERS), 2)
        searchable = self.wait_until_searchable(int(totals["RecordsIndexed"]))
        working = totals["TotalSeconds"]
        rate, seconds = totals["RecordsRead"] / working, searchable - self.uploaded.at
        say(
            f"{rate:,.0f} events per second in {working:.1f} s of work, on a server just started.\n"
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
        self.s3.put_object(Bucket=self.resources.bucket, Key=TRUNCATED, Body=whole)
        self.trailsink("dlq", "redrive", "--reason", "truncated")
        totals = self.consume()
        records = json.loads(gzip.decompress(whole))["Records"]
        self.check("dead letters of the mended file", totals["DeadLetters"], 0)
        say(
            f"{totals['RecordsRead']:,.0f} records read in it: {totals['RecordsIndexed']:,.0f} new, "
            f"{totals['RecordsDuplicate']:,.0f} were there from the half; the file holds {len(records)}."
        )

    def show_end(self) -> bool:
        """Hold the index against what was uploaded."""
        heading("7. Is anything missing?")
        self.opensearch.indices.refresh(index=INDICES)
        hits = self.opensearch.search(index=INDICES, body={"size": 10_000, "_source": False})["hits"]["hits"]
        found = {hit["_id"] for hit in hits}
        missing, twice = len(self.uploaded.ids - found), len(hits) - len(found)
        say(f"{len(self.uploaded.ids):,} events uploaded, {len(found):,} found, {missing} missing, {twice} twice.")
        self.check("events found", found, self.uploaded.ids)
        for line in self.wrong:
            out.print(f"[red]WRONG[/] {line}")
        if not self.wrong:
            say("Every count is right. The letter of the file with the bad record stays.")
        return not self.wrong

    def check(self, what: str, found: object, expected: object) -> None:
        """Remember a count that is off."""
        if found != expected:
            self.wrong.append(f"{what}: {found!s:.200}, expected {expected!s:.200}")


WORDS = {"Indexed": "indexed", "DeadLettered": "dead-lettered", "HandedBack": "handed back"}
MARKERS = ("digest", "folder_marker")


def command(*words: str) -> list[str]:
    """Return the command line of the `trailsink` beside this interpreter."""
    return [str(Path(sys.executable).with_name("trailsink")), *words]


def caller(event: dict[str, Any]) -> str:
    """Say who called, without the account."""
    return str(event["userIdentity"].get("arn", "-")).split(":", 5)[-1]


def role(event: dict[str, Any]) -> str:
    """Say which role was asked for, without the account."""
    asked = event.get("requestParameters") or {}
    return str(asked.get("roleArn", "-")).split(":", 5)[-1]


def say(text: str) -> None:
    """Print plain text."""
    out.print(text, markup=False)


def heading(text: str) -> None:
    """Begin a part."""
    out.print(f"\n[bold]{text}[/]")


def show(question: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Show the answer to a search."""
    out.print(question, style="italic", markup=False)
    table = Table(*columns, box=None, header_style="dim", pad_edge=False)
    for row in rows:
        table.add_row(*map(str, row))
    out.print(table)


def main() -> int:
    """Run the demo on a stack of its own."""
    began = time.monotonic()
    try:
        say("Starting OpenSearch, S3 and SQS (the first time, Maven brings the server).")
        with Stack(quick=False) as stack:
            seconds = time.monotonic() - began
            say(f"After {seconds:.1f} s OpenSearch answers at {stack.opensearch_url},")
            say(f"S3 and SQS at {stack.aws.url}.")
            demo = Demo(stack)
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
    seconds = time.monotonic() - began
    say(f"Done in {seconds:.0f} s, all is stopped. `make up` keeps a stack to try things on.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
