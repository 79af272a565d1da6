"""`make demo`: real files from the bucket to searches, with a truncated file that is repaired and redriven.

Every count is checked against what was uploaded. The exit code is 1 when one is wrong.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch
from rich.table import Table

from infra.demo.console import heading, out, say
from infra.demo.pipelines import BUILD, ROOT, DemoPipeline, FunctionPipeline, ProcessPipeline, Totals
from infra.demo.signed_day import sign_day
from infra.local.errors import LocalStackError
from infra.local.node import DEFAULT_VERSION
from infra.local.stack import Stack
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef

DATA = Path(__file__).parents[2] / "tests" / "data"
ACCOUNT = "AWSLogs/218007301253/CloudTrail/us-east-1/2023/07/10/218007301253_CloudTrail_us-east-1_"
TRUNCATED = f"{ACCOUNT}20230710T1230Z_KV9LZlfXqBel7nqf.json.gz"
ANNOUNCED_TWICE = 10
BUCKET = "stratus-red-team-ctlr-bucket-zqfsvooxqj"  # the truncated file holds no call on it
PREFIX = "demo-cloudtrail"  # the server may hold somebody's own indices
INDICES = f"{PREFIX}-*"

SEARCHABLE_SECONDS = 60

REPORT = BUILD / "demo-report.html"
NOISE = "infra/demo/noise.json"
NEXT_DAY = BUILD / "demo-next-day"
PLANTED = "OneRecordIsNone0"
DAY = ("--since", "2023-07-10T11:00:00", "--until", "2023-07-10T14:00:00")

MODES: dict[str, type[DemoPipeline]] = {"function": FunctionPipeline, "process": ProcessPipeline}


@dataclass
class Uploaded:
    """What was put into the bucket, to compare the counts with."""

    files: int = 0
    ids: set[str] = field(default_factory=set)
    calls_on_bucket: int = 0
    at: float = 0.0


class Demo:
    """One run of the demo."""

    def __init__(self, pipeline: DemoPipeline) -> None:
        self.pipeline = pipeline
        self.opensearch = OpenSearch([pipeline.stack.opensearch_url], timeout=60)
        self.uploaded = Uploaded()
        self.clear()

    def run(self) -> bool:
        """Run every step; returns whether all counts were right."""
        heading(f"1. {self.pipeline.first_step}")
        self.pipeline.set_up()
        heading("2. Upload real CloudTrail files, and some that cause trouble")
        self.upload()
        heading("3. Drain the queue")
        self.show_outcomes(self.pipeline.consume())
        heading("4. Search")
        self.search()
        heading("5. See what could not be indexed, and why")
        self.pipeline.trailsink("dlq", "list")
        heading("6. Repair the truncated file, and redrive it")
        self.redrive()
        heading("7. Is anything missing?")
        self.show_missing()
        heading("8. Try detection rules on these events")
        self.pipeline.trailsink("detect", "test", "infra/demo/rules")
        heading("9. Leave noise out")
        self.leave_noise_out()
        heading("10. Check the pipeline")
        self.pipeline.trailsink("status")
        self.pipeline.trailsink("doctor")
        heading("11. Write a report")
        self.report()
        heading("12. Prove it")
        self.prove()
        heading("13. Remove everything")
        self.pipeline.remove()
        return self.show_errors()

    def clear(self) -> None:
        """Delete the demo's indices and template from the server."""
        self.opensearch.indices.delete(index=INDICES, params={"ignore_unavailable": "true"})
        self.opensearch.indices.delete(index=f"trailsink-files-{PREFIX}-*", params={"ignore_unavailable": "true"})
        for name in (f"trailsink-{PREFIX}", f"trailsink-files-{PREFIX}"):
            self.opensearch.indices.delete_index_template(name=name, params={"ignore": 404})

    def upload(self) -> None:
        """Put everything into the bucket; S3 sends a notification of each object to the queue."""
        for path in sorted((DATA / "AWSLogs").rglob("*.json.gz")):
            key = path.relative_to(DATA).as_posix()
            body = path.read_bytes()
            if "CloudTrail-Digest" not in key:
                self.remember(body)
            self.put(key, body[: len(body) // 2] if key == TRUNCATED else body)
        self.put("AWSLogs/218007301253/CloudTrail/", b"")
        event = {
            "eventID": "demo-event",
            "eventTime": "2023-07-10T12:00:00Z",
            "eventName": "Demo",
            "eventSource": "demo",
        }
        self.put(
            f"{ACCOUNT}20230710T1300Z_OneRecordIsNone0.json.gz",
            gzip.compress(json.dumps({"Records": [event, 42]}).encode()),
        )
        self.uploaded.ids.add("demo-event")
        keys = [entry["Key"] for entry in self.pipeline.s3.list_objects_v2(Bucket=self.pipeline.bucket)["Contents"]]
        repeated = [key for key in keys if "_CloudTrail_" in key and key != TRUNCATED][:ANNOUNCED_TWICE]
        for key in repeated:
            notification = s3_notification(ObjectRef(self.pipeline.bucket, key))
            self.pipeline.sqs.send_message(QueueUrl=self.pipeline.queue_url, MessageBody=notification)
        self.uploaded.at = time.monotonic()
        files, events = self.uploaded.files - 3, len(self.uploaded.ids) - 1
        say(
            f"{files} files with {events:,} events, one of them cut in half;\n"
            f"a file with a record that is not a JSON object, a digest file, an empty folder marker;\n"
            f"{len(repeated)} files announced twice."
        )

    def put(self, key: str, body: bytes) -> None:
        """Upload one object."""
        self.pipeline.s3.put_object(Bucket=self.pipeline.bucket, Key=key, Body=body)
        self.uploaded.files += 1

    def remember(self, body: bytes) -> None:
        """Remember which events a file holds."""
        records = json.loads(gzip.decompress(body))["Records"]
        self.uploaded.ids |= {record["eventID"] for record in records}
        calls = [record.get("requestParameters") or {} for record in records]
        self.uploaded.calls_on_bucket += sum(parameters.get("bucketName") == BUCKET for parameters in calls)

    def show_outcomes(self, totals: Totals) -> None:
        """Show the outcome of every file and record."""
        table = Table("", "", "count", box=None, show_header=False, pad_edge=False)
        table.columns[2].justify = "right"
        for name, value in sorted(totals["ignored"].items()):
            table.add_row("notifications", f"ignored: {name}", f"{value:,}")
        for name in ("Indexed", "DeadLettered", "HandedBack"):
            table.add_row("files", WORDS[name], f"{totals['Files' + name]:,.0f}")
        for name in ("Read", "Indexed", "Duplicate", "Degraded", "Rejected"):
            table.add_row("records", name.lower(), f"{totals['Records' + name]:,.0f}")
        out.print(table)
        outcomes = sum(
            totals[f"Records{name}"] for name in ("Indexed", "Duplicate", "Degraded", "Rejected", "Filtered")
        )
        self.check("read = indexed + duplicate + degraded + rejected + filtered", totals["RecordsRead"], outcomes)
        self.check("dead letters", totals["DeadLetters"], 2)
        self.check("ignored by name", set(totals["ignored"]) & MARKERS, self.pipeline.announced_markers)
        searchable = self.wait_until_searchable(int(totals["RecordsIndexed"]))
        work_seconds = totals["TotalSeconds"]
        rate, seconds = totals["RecordsRead"] / work_seconds, searchable - self.uploaded.at
        say(
            f"{rate:,.0f} events per second in {work_seconds:.1f} s of work, on servers that have just started.\n"
            f"All were searchable {seconds:.1f} s after the last upload. The index refreshes every 10 s."
        )

    def wait_until_searchable(self, expected: int) -> float:
        """Repeat a search, as a user would, until it finds everything that was indexed."""
        deadline = time.monotonic() + SEARCHABLE_SECONDS
        while (documents := self.count()) < expected and time.monotonic() < deadline:
            time.sleep(0.1)
        self.check("documents that a search finds", documents, expected)
        return time.monotonic()

    def count(self) -> int:
        """Count the documents that a search finds now."""
        return int(self.opensearch.count(index=INDICES)["count"])

    def search(self) -> None:
        """Show three typical searches."""
        query = "eventName:AssumeRole AND userIdentity.arn:* AND NOT errorCode:*"
        roles = Counter((caller(hit), role(hit)) for hit in self.hits(query))
        self.check("roles assumed", bool(roles), expected=True)
        show(
            f"Who assumed which role?\n  {query}",
            ("caller", "role", "times"),
            [(*pair, times) for pair, times in most_common(roles, 4)],
        )
        query = f"requestParameters.bucketName:{BUCKET}"
        calls = Counter((hit["eventName"], hit.get("errorCode", "-")) for hit in self.hits(query))
        self.check("calls on one bucket", sum(calls.values()), self.uploaded.calls_on_bucket)
        show(
            f"Every call on one bucket?\n  {query}",
            ("call", "error", "times"),
            [(*call, times) for call, times in most_common(calls, 4)],
        )
        response = self.opensearch.search(
            index=INDICES, body={"size": 0, "aggs": {"codes": {"terms": {"field": "errorCode", "size": 4}}}}
        )
        codes = [(bucket["key"], bucket["doc_count"]) for bucket in response["aggregations"]["codes"]["buckets"]]
        show("Which errors were there?\n  terms of errorCode", ("error", "times"), codes)
        self.pipeline.trailsink("search", "eventName:(StopLogging OR DeleteTrail)", "--limit", "3")
        contains = "requestParameters.bucketName:*red-team*"
        self.pipeline.trailsink("search", contains, "--limit", "3")
        self.pipeline.trailsink("search", contains, "--count-by", "requestParameters.bucketName", "--limit", "3")
        self.pipeline.trailsink("explain", min(hit["eventID"] for hit in self.hits("eventName:DeleteTrail")))

    def hits(self, query: str) -> list[dict[str, Any]]:
        """Return the events that a query string finds."""
        body = {"size": 1000, "query": {"query_string": {"query": query}}}
        return [hit["_source"] for hit in self.opensearch.search(index=INDICES, body=body)["hits"]["hits"]]

    def redrive(self) -> None:
        """Upload the complete file over the truncated one, and redrive its dead letter."""
        whole = (DATA / TRUNCATED).read_bytes()
        self.pipeline.s3.put_object(Bucket=self.pipeline.bucket, Key=TRUNCATED, Body=whole)
        self.pipeline.trailsink("dlq", "redrive", "--reason", "truncated")
        totals = self.pipeline.consume()
        records = json.loads(gzip.decompress(whole))["Records"]
        self.check("dead letters of the repaired file", totals["DeadLetters"], 0)
        times = "twice" if totals["RecordsRead"] > len(records) else "once, in one batch"
        say(
            f"S3 and the dead letter both announced the repaired file. Its {len(records)} records were read {times}:\n"
            f"{totals['RecordsIndexed']:,.0f} were new, {totals['RecordsDuplicate']:,.0f} were duplicates."
        )

    def show_missing(self) -> None:
        """Compare the index with what was uploaded."""
        self.opensearch.indices.refresh(index=INDICES)
        hits = self.opensearch.search(index=INDICES, body={"size": 10_000, "_source": ["eventID"]})["hits"]["hits"]
        ids = {hit["_source"]["eventID"] for hit in hits}
        missing, twice = len(self.uploaded.ids - ids), len(hits) - len(ids)
        say(f"{len(self.uploaded.ids):,} events uploaded, {len(ids):,} found, {missing} missing, {twice} twice.")
        self.check("events found", ids, self.uploaded.ids)
        self.pipeline.trailsink("backfill", "--missing", "--dry-run")

    def leave_noise_out(self) -> None:
        """Try a filter on the events that are indexed, then load the same events of the next day with it."""
        self.pipeline.trailsink("filter", "test", NOISE, *DAY, "--rules", "infra/demo/rules")
        records, left_out = self.write_next_day()
        say(f"$ export TRAILSINK_FILTERS={NOISE}")
        self.pipeline.environment["TRAILSINK_FILTERS"] = NOISE
        folder = str(NEXT_DAY.relative_to(ROOT))
        self.pipeline.trailsink(
            "backfill", "--local", folder, "--until", "2023-07-12", "--direct", "--yes", "--no-progress"
        )
        del self.pipeline.environment["TRAILSINK_FILTERS"]
        self.opensearch.indices.refresh(index=INDICES)
        documents = int(self.opensearch.count(index=f"{PREFIX}-2023-07-11")["count"])
        self.check("events of the next day", documents, records - left_out)
        say(f"{left_out:,} of {records:,} events of the next day were left out, {left_out / records:.1%} of them.")

    def write_next_day(self) -> tuple[int, int]:
        """Write the real events once more, as of the next day; returns how many they are, and how many are noise."""
        paths = sorted((DATA / "AWSLogs").rglob("*_CloudTrail_*.json.gz"))
        records = [record for path in paths for record in json.loads(gzip.decompress(path.read_bytes()))["Records"]]
        for record in records:
            record["eventID"] = f"next-{record['eventID']}"
            record["eventTime"] = record["eventTime"].replace("2023-07-10", "2023-07-11")
        folder = NEXT_DAY / "AWSLogs/218007301253/CloudTrail/us-east-1/2023/07/11"
        folder.mkdir(parents=True, exist_ok=True)
        name = "218007301253_CloudTrail_us-east-1_20230711T1500Z_NextDay000000000.json.gz"
        (folder / name).write_bytes(gzip.compress(json.dumps({"Records": records}).encode(), mtime=0))
        kept = {record["eventID"] for record in records if not is_noise(record)}
        self.uploaded.ids |= kept
        return len(records), len(records) - len(kept)

    def report(self) -> None:
        """Write the panels of the boards as one file, and say where it is."""
        REPORT.parent.mkdir(exist_ok=True)
        self.pipeline.trailsink("report", *DAY, "-o", str(REPORT.relative_to(ROOT)))
        say("It is one file without scripts: open it in a browser.")

    def prove(self) -> None:
        """Sign the day as CloudTrail does, delete a file from the index, and have `trailsink verify` find it."""
        keys = self.pipeline.folder / "keys.json"
        signed = sign_day(self.pipeline.s3, self.pipeline.bucket, ACCOUNT, keys, leave_out=PLANTED)
        uri = ObjectRef(self.pipeline.bucket, signed[0]).uri
        query = {"query": {"term": {"trailsink.object": uri}}}
        deleted = self.opensearch.delete_by_query(index=INDICES, body=query, refresh=True)["deleted"]
        self.opensearch.indices.refresh(index=f"trailsink-files-{PREFIX}-*")
        say(
            f"{len(signed)} files were signed with a key of this demo's own. The file that was made by hand was not.\n"
            f"Somebody deletes the {deleted} events of one file from the index."
        )
        self.check("events of the deleted file", deleted > 0, expected=True)
        words = ("verify", "--keys", str(keys), "--account", "218007301253", *DAY)
        self.pipeline.trailsink(*words, exit_code=1)
        self.pipeline.trailsink(*words, "--load", exit_code=1)
        self.opensearch.indices.refresh(index=INDICES)
        self.check("events after --load", self.count(), len(self.uploaded.ids))

    def show_errors(self) -> bool:
        """Print each wrong count; returns whether there was none."""
        for line in self.pipeline.errors:
            out.print(f"[red]WRONG[/] {line}")
        return not self.pipeline.errors

    def check(self, name: str, value: object, expected: object) -> None:
        """Remember a wrong count."""
        self.pipeline.check(name, value, expected)


def most_common(counts: Counter[tuple[str, str]], limit: int) -> list[tuple[tuple[str, str], int]]:
    """Return the largest counts, in the same order on each run."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]


def is_noise(event: dict[str, Any]) -> bool:
    """Return whether an event is what the demo's filter leaves out."""
    return event["eventSource"] == "kms.amazonaws.com" and event["eventName"] in (
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
    )


WORDS = {"Indexed": "indexed", "DeadLettered": "dead-lettered", "HandedBack": "handed back"}
MARKERS = {"digest", "folder_marker"}


def caller(event: dict[str, Any]) -> str:
    """Return who made the call, without the account."""
    return str(event["userIdentity"].get("arn", "-")).split(":", 5)[-1]


def role(event: dict[str, Any]) -> str:
    """Return the role that was assumed, without the account."""
    parameters = event.get("requestParameters") or {}
    return str(parameters.get("roleArn", "-")).split(":", 5)[-1]


def show(question: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Show the result of a search."""
    out.print(question, style="italic", markup=False)
    table = Table(*columns, box=None, header_style="dim", pad_edge=False)
    for row in rows:
        table.add_row(*map(str, row))
    out.print(table)


def main() -> int:
    """Run the demo on a stack of its own."""
    parser = argparse.ArgumentParser(prog="python -m infra.demo", description=__doc__)
    parser.add_argument(
        "mode", nargs="?", choices=MODES, default="function", help="the deployed function (default), or a process"
    )
    parser.add_argument("--version", default=DEFAULT_VERSION, help=f"of OpenSearch ({DEFAULT_VERSION})")
    arguments = parser.parse_args()
    pipeline = MODES[arguments.mode]
    started = time.monotonic()
    try:
        say("Starting OpenSearch and a stand-in for AWS. The first time, the server is downloaded: 71 MB.")
        with (
            Stack(version=arguments.version, quick=False) as stack,
            tempfile.TemporaryDirectory(prefix="trailsink-demo-") as folder,
        ):
            say(f"Ready after {time.monotonic() - started:.1f} s: OpenSearch at {stack.opensearch_url},")
            say(f"S3, SQS, Lambda and CloudFormation at {stack.aws.url}.")
            demo = Demo(pipeline(stack, PREFIX, Path(folder)))
            try:
                correct = demo.run()
            finally:
                demo.clear()
    except LocalStackError as error:
        out.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        say("Interrupted; everything is stopped.")
        return 130
    if correct:
        say(f"\nEvery count is right. Done in {time.monotonic() - started:.0f} s; everything is stopped.")
        say("Run `make up` to start a stack that stays, and try things yourself.")
    return 0 if correct else 1


if __name__ == "__main__":
    sys.exit(main())
