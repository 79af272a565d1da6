"""Every command with what is commonly wrong around it: one clear sentence, the right exit code, no traceback.

A row for each command, a cell for each fault, against the real parts. Where a fault cannot matter to a command, or the
command is there to tell it, the cell says so, and the command has to do its work all the same.
"""

from __future__ import annotations

import json
import os
import re
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import click
import pytest
from click.testing import CliRunner

from infra.local.ports import free_port
from tests.support.event_files import event, log_file
from tests.support.http_server import Service, listening
from tests.support.index_documents import index
from worker.boards.panels import Pattern
from worker.boards.saved_objects import saved_objects
from worker.cli.main import main
from worker.deploy.manifest import PATH, BundleManifest
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Bench

SECONDS = 45.0  # within which each command has to end, whatever is wrong, on a machine that is busy with others
KEY = (
    "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/123456789012_CloudTrail_eu-west-1_20260301T1005Z_abc.json.gz"
)
STACK = """
Parameters: {IndexPrefix: {Type: String}, OpensearchUrl: {Type: String}}
Resources: {Topic: {Type: AWS::SNS::Topic}}
"""


@dataclass(frozen=True)
class Cell:
    """What a command does under a fault: its exit code, and all of standard error and output, * for anything."""

    code: int
    said: str
    shown: str


def works(shown: str, said: str = "") -> Cell:
    """The fault does not matter here."""
    return Cell(0, said, shown)


def refuses(sentence: str, shown: str = "") -> Cell:
    """One sentence on standard error and exit code 1; by default nothing on standard output."""
    return Cell(1, f"Error: {sentence}\n", shown)


def refuses_wherever(queue: str) -> tuple[Cell, Cell, Cell]:
    """Say of a queue that it cannot be asked without credentials, and is not there in another region, or at all."""
    return (
        refuses(f"The queue {queue} cannot be used: no AWS credentials were found."),
        refuses(f"There is no queue {queue} in us-west-2."),
        refuses(f"There is no queue {queue}-gone in us-east-1."),
    )


# Changes of the environment; {} for one that is as it should be.
FAULTS = {
    "no credentials": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
    "wrong region": {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-2"},
    "no queue": {"TRAILSINK_QUEUE_URL": "{queue}-gone", "TRAILSINK_DEAD_LETTER_QUEUE_URL": "{dead}-gone"},
    "cluster down": {"TRAILSINK_OPENSEARCH_URL": "{down}"},
    "bare cluster": {"TRAILSINK_INDEX_PREFIX": "{bare}"},  # neither our template nor an index
    "empty queue": {},
}
Row = tuple[Cell, ...]  # one for each fault, in their order

SILENT = "OpenSearch does not answer: no connection"
UNMADE = refuses("The cluster has no index template trailsink-{bare}: run `trailsink setup` first.")
NO_LETTERS = works("No dead letters.\n")
TRIED_AGAIN = "trailsink backfill --missing will load the files again.\n"
ANNOUNCED = works("*day         announced\n2026-03-01          1\n*")
LOADED = works("*day         loaded\n2026-03-01       1\nrecords: 1 read, *")
STOPPED = "Go on? [y/N]: n\nError: Nothing was changed.\n"
PROPOSED = Cell(1, STOPPED, "Account *\nOpenSearch * answers at {cluster}: *\nThe stack of-nobody will\n  create *")
NOT_NAMED = "Type the name of the stack to go on: n\nError: Nothing was changed.\n"
ASKED = Cell(1, NOT_NAMED, "Account 000000000000, region us-east-1.\nThe stack small will be deleted: *")
NO_STACK = refuses("There is no stack of-nobody in us-east-1.")
SENT = works("Sent 1 of 1 letter to the dead-letter queue.\n")
FOUND, EXPLAINED = works("*GetObject*", "1 event.\n"), works("{event}\n  event      s3.amazonaws.com GetObject\n*")
SET_UP = works(
    "Found *\nIndex template trailsink-{prefix} version 2 already exists.\nLedger: *\n", "Connecting to *...\n"
)
IMPORTED = works("CloudTrail *: overview  {dashboards}/app/dashboards#/view/trailsink-*-overview*\n*")
REPORTED = works("Wrote {new}: 1 event, * of 12 counters are red.\n", "*")
TEMPLATE, OBJECTS = works("# trailsink on AWS*"), works('*"type":"index-pattern","id":"trailsink-{any_prefix}"*')

# By what is typed: a command that can go several ways has a row for each.
MATRIX: dict[str, Row] = {
    "setup": (
        *(SET_UP, SET_UP, SET_UP),
        Cell(1, f"Connecting to *...\nError: {SILENT}.\n", ""),
        works(
            "Found *\nIndex template trailsink-{bare} version 2 created, for {bare}-*.\nLedger: * created, for *\n",
            "Connecting to *...\n",
        ),
        SET_UP,
    ),
    "run --until-idle --timeout 2": (
        *refuses_wherever("{queue}"),
        # It goes on, as it does when the cluster goes down later: the message waits in the queue.
        Cell(
            1,
            f"Warning: {SILENT}; meanwhile messages go back to the queue.\n"
            "Error: Out of time, and the queue is not empty: * messages visible, * hidden.\n",
            '*"message":"totals",*',
        ),
        UNMADE,
        works('*"message":"totals",*"Messages":0,*'),
    ),
    # EventBridge, because the local bucket announces its files to a queue already.
    "deploy --stack of-nobody --bucket {bucket} --bundle {bundle} --set Destination=url --set EndpointUrl={cluster}"
    " --set NotificationSource=EventBridge": (
        refuses("The AWS credentials cannot be used: no AWS credentials were found."),
        refuses(
            "The bucket {bucket} is in us-east-1, not in us-west-2: set AWS_REGION=us-east-1.",
            "Account 000000000000, region us-west-2.\n",
        ),
        PROPOSED,
        Cell(
            1,
            STOPPED,
            "Account *\n{down} could not be checked from here: no connection; the function may still have access.\n"
            "The stack of-nobody will\n  create *",
        ),
        PROPOSED,
        PROPOSED,
    ),
    "destroy --stack small": (
        refuses("The AWS credentials cannot be used: no AWS credentials were found."),
        works("Account 000000000000, region us-west-2.\nThere is no stack small in us-west-2.\n"),
        *(ASKED, ASKED, ASKED, ASKED),
    ),
    "template": (TEMPLATE, TEMPLATE, TEMPLATE, TEMPLATE, TEMPLATE, TEMPLATE),
    "doctor": (
        refuses(
            "No fault was found, but these could not be checked: source queue, dead-letter queue.",
            "not checked  source queue: no AWS credentials were found\n*\nok           index template: *",
        ),
        *[refuses("At fault: source queue, dead-letter queue.", "fault        source queue: there is no queue *")] * 2,
        refuses("At fault: cluster.", "ok           source queue: *\nfault        cluster: {down} does not answer: *"),
        refuses(
            "At fault: index template, consumer process, newest event, ledger template.",
            "ok *\nfault        index template: *\n             trailsink setup\n*",
        ),
        works("ok           source queue: *\nok           dead letters: none\n*\nok           index template: *"),
    ),
    "doctor --stack of-nobody": (
        refuses("The stack of-nobody cannot be read: no AWS credentials were found."),
        refuses("There is no stack of-nobody in us-west-2."),
        *(NO_STACK, NO_STACK, NO_STACK, NO_STACK),
    ),
    "backfill --yes": (*refuses_wherever("{queue}"), ANNOUNCED, ANNOUNCED, ANNOUNCED),
    "backfill --yes --direct": (
        refuses("The bucket {bucket} cannot be listed: no AWS credentials were found."),
        LOADED,  # S3 is found from every region: the SDK goes where it is sent
        LOADED,
        refuses(f"{SILENT}."),
        UNMADE,
        LOADED,
    ),
    "backfill --yes --missing": (*refuses_wherever("{queue}"), refuses(f"{SILENT}."), UNMADE, ANNOUNCED),
    "dlq list": (*refuses_wherever("{dead}"), *[works("reason     letters *\ntoo_large        1 *")] * 2, NO_LETTERS),
    "dlq show {letter}": (
        *refuses_wherever("{dead}"),
        *[works("id        {letter}\nreason    too_large: *")] * 2,
        refuses("No such letter: {letter}."),
    ),
    "dlq redrive": (
        *refuses_wherever("{dead}"),
        *[works("Moved 1 letter back to the source queue.\n")] * 2,
        NO_LETTERS,
    ),
    "dlq discard --all --yes --to {new}": (
        *refuses_wherever("{dead}"),
        # The letter is worth more than its mark in the ledger.
        works("Discarded 1 letter, kept in {new}.\n", f"Not recorded in the ledger: {SILENT}. {TRIED_AGAIN}"),
        works(
            "Discarded 1 letter, kept in {new}.\n",
            f"Not recorded in the ledger: the ledger is not set up: run trailsink setup. {TRIED_AGAIN}",
        ),
        NO_LETTERS,
    ),
    "dlq export {new}": (
        *refuses_wherever("{dead}"),
        *[works("Exported 1 letter.\n")] * 2,
        works("Exported 0 letters.\n"),
    ),
    "dlq import {letters}": (
        refuses("The queue {dead} cannot be used: no AWS credentials were found; SQS took 0 letters before that."),
        refuses("There is no queue {dead} in us-west-2; SQS took 0 letters before that."),
        refuses("There is no queue {dead}-gone in us-east-1; SQS took 0 letters before that."),
        *(SENT, SENT, SENT),
    ),
    "status": (
        refuses("At fault: queue, dead letters.", "*\nqueue         fault    no AWS credentials were found\n*"),
        refuses(
            "At fault: queue, dead letters.", "*\nqueue         fault    there is no queue {queue} in us-west-2\n*"
        ),
        refuses("At fault: queue, dead letters.", "*\nqueue         fault    there is no queue {queue}-gone in *"),
        refuses("At fault: cluster.", "*\nqueue         ok       1 waiting*\ncluster       fault    no connection\n*"),
        refuses(
            "At fault: consumer, lag, template.", "*\ncluster       ok *\ntemplate      fault    *trailsink setup*"
        ),
        works("*\nqueue         ok       0 waiting, 0 in flight\ndead letters  ok       none\n*"),
    ),
    "search eventName:GetObject": (
        *(FOUND, FOUND, FOUND),
        refuses("OpenSearch cannot be asked for events of {prefix}-*: no connection."),
        works("", "No events found: there is no index {bare}-* (TRAILSINK_INDEX_PREFIX), or none yet.\n"),
        FOUND,
    ),
    "explain {event}": (
        *(EXPLAINED, EXPLAINED, EXPLAINED),
        Cell(1, "*Error: OpenSearch cannot be asked for the event: no connection.\n", ""),  # on a slow machine it waits
        refuses("No event {event} is in {bare}-*. *(trailsink doctor)."),
        EXPLAINED,
    ),
    "report --since 2026-03-01 --until 2026-03-02 -o {new}": (
        *(REPORTED, REPORTED, REPORTED),
        Cell(1, "*Error: OpenSearch cannot be asked for events of {prefix}-*: no connection.\n", ""),
        works("Wrote {new}: 0 events, 0 of 12 counters are red.\n", "*"),
        REPORTED,
    ),
    "dashboards install --url {dashboards}": (
        *(IMPORTED, IMPORTED, IMPORTED),
        refuses("The import into Dashboards failed: no connection."),  # it goes down with its cluster
        *(IMPORTED, IMPORTED),
    ),
    "dashboards export -": (OBJECTS, OBJECTS, OBJECTS, OBJECTS, OBJECTS, OBJECTS),
}


def commands(group: click.Group, before: str = "") -> set[str]:
    """All commands that there are, by what is typed."""
    found: set[str] = set()
    for name, command in group.commands.items():
        typed = f"{before}{name}"
        found |= commands(command, f"{typed} ") if isinstance(command, click.Group) else {typed}
    return found


def test_every_command_has_a_row() -> None:
    """Whoever adds a command says here what it does when something is wrong, whatever it is."""
    known = commands(main)

    rows = {name for typed in MATRIX for name in known if f"{typed} ".startswith(f"{name} ")}

    assert rows == known
    assert {len(row) for row in MATRIX.values()} == {len(FAULTS)}


@pytest.fixture
def dashboards() -> Iterator[str]:
    """What takes an import as Dashboards does."""
    taken = json.dumps({"success": True, "successCount": len(saved_objects("x"))}).encode()
    with listening(Service(replies=[(200, taken) for _ in FAULTS for _ in range(1 + len(Pattern))])) as service:
        yield service.url


@pytest.fixture
def values(bench: Bench, dashboards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What stands for the names in braces, while all is well; and an environment without this machine's own."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    (tmp_path / "letters.jsonl").write_text('{"body":"x"}\n')
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:  # all that anybody looks at
        archive.writestr(PATH, BundleManifest("arm64", "3.13", "0.1.0").encode())
    at_hand = event()
    index(bench, [at_hand])
    down = f"http://127.0.0.1:{free_port()}"  # where nobody listens
    settings = bench.settings
    return {
        "queue": settings.queue_url,
        "dead": settings.dead_letter_queue_url,
        "bucket": settings.bucket,
        "cluster": settings.opensearch_url,
        "down": down,
        "dashboards": dashboards,
        "prefix": bench.prefix,
        "bare": f"bare-{bench.prefix}",
        "any_prefix": "*",
        "event": at_hand["eventID"],
        "letters": str(tmp_path / "letters.jsonl"),
        "bundle": str(tmp_path / "bundle.zip"),
        "new": str(tmp_path / "new.jsonl"),
    }


@pytest.mark.parametrize("typed", MATRIX)
def test_whatever_is_wrong_is_said_in_one_sentence(typed: str, bench: Bench, values: dict[str, str]) -> None:
    """Exit code 1 and what to mend, or the work that does not depend on it; never a traceback, never for minutes."""
    if "--stack small" in typed:
        make_stack(values["cluster"], bench.prefix)

    for (fault, changes), cell in zip(FAULTS.items(), MATRIX[typed], strict=True):
        letter = prepare(bench, empty=fault == "empty queue")
        gone = {"cluster": values["down"], "dashboards": values["down"]} if fault == "cluster down" else {}
        told = values | gone | {"letter": letter}
        environment = {name: value.format(**told) for name, value in changes.items()}

        began = time.monotonic()
        done = CliRunner().invoke(main, typed.format(**told).split(), input="n\n", env=environment)
        seconds = time.monotonic() - began

        assert done.exception is None or isinstance(done.exception, SystemExit), (fault, done.exception)
        assert done.exit_code == cell.code, (fault, done.output)
        assert_like(done.stderr, cell.said.format(**told), fault)
        assert_like(done.stdout, cell.shown.format(**told), fault)
        assert seconds < SECONDS, fault
        assert not (cell.code and Path(values["new"]).exists()), fault
        tidy_up(bench, values)


# Nothing of this machine's own, and no wait between tries that a person would not see either.
QUIET = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "TRAILSINK_RETRY_SECONDS": "1",
}


def make_stack(url: str, prefix: str) -> None:
    """Make a stack that `destroy` could destroy."""
    client = boto3.client("cloudformation")
    given = {"OpensearchUrl": url, "IndexPrefix": prefix}
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
    client.create_stack(StackName="small", TemplateBody=STACK, Parameters=parameters)  # type: ignore[arg-type]
    client.get_waiter("stack_create_complete").wait(StackName="small", WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def prepare(bench: Bench, *, empty: bool) -> str:
    """Put a new file into the bucket, whose notice waits, and a letter; with `empty` no queue holds anything.

    Returns the letter's id.
    """
    settings = bench.settings
    bench.put(KEY, log_file(event()))
    body = s3_notification(ObjectRef(settings.bucket, KEY))
    reason = {"reason": {"DataType": "String", "StringValue": "too_large"}}
    queues = (settings.queue_url, settings.dead_letter_queue_url)
    if not empty:
        bench.sqs.purge_queue(QueueUrl=queues[0])
        bench.sqs.send_message(QueueUrl=queues[0], MessageBody=body)
    sent = bench.sqs.send_message(QueueUrl=queues[1], MessageBody=body, MessageAttributes=reason)  # type: ignore[arg-type]
    if empty:
        for url in queues:
            bench.sqs.purge_queue(QueueUrl=url)
    return sent["MessageId"]


def tidy_up(bench: Bench, values: dict[str, str]) -> None:
    """Take away what a command made, and all messages."""
    for url in (bench.settings.queue_url, bench.settings.dead_letter_queue_url):
        bench.sqs.purge_queue(QueueUrl=url)
    for name in (f"trailsink-{values['bare']}", f"trailsink-files-{values['bare']}"):
        bench.opensearch.indices.delete_index_template(name=name, params={"ignore": 404})
    Path(values["new"]).unlink(missing_ok=True)


def assert_like(text: str, pattern: str, fault: str) -> None:
    """Hold a text against a pattern in which * is anything."""
    assert re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text, re.DOTALL), (
        f"{fault}: expected\n{pattern}\nand there is\n{text}"
    )
