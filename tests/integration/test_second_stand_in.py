"""A small part of the road on moto's server, so that nothing is tuned to one stand-in for AWS."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3

from infra.local.polling import fetch
from infra.local.ports import free_port
from infra.local.resources import make_resources
from tests.support.cli import trailsink
from tests.support.event_files import event, log_file
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.conftest import Bench


@contextmanager
def moto() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 60
            while fetch(f"{url}/moto-api/") is None:
                assert time.monotonic() < until, "moto's server does not start"
                time.sleep(0.1)
            yield url
        finally:
            server.kill()


def test_files_and_dead_letters_take_the_same_road_on_another_stand_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Good files are indexed, a bad one is in the dead-letter queue, and a selected letter comes back."""
    with moto() as url:
        resources = make_resources(url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("TRAILSINK_QUEUE_URL", resources.queue_url)
        monkeypatch.setenv("TRAILSINK_DEAD_LETTER_QUEUE_URL", resources.dead_letter_queue_url)
        good, keys = [event() for _ in range(6)], ("plain.json.gz", "AWSLogs/with space+plus%25/é.json.gz")
        s3 = boto3.client("s3")
        for number, key in enumerate(keys):
            s3.put_object(Bucket=resources.bucket, Key=key, Body=log_file(*good[3 * number : 3 * number + 3]))
        s3.put_object(Bucket=resources.bucket, Key="cut.json.gz", Body=log_file(event())[:-20])

        first = run("run", "--until-idle", "--timeout", "450")
        letters = [json.loads(line) for line in run("dlq", "list", "--json").splitlines()]
        refused = trailsink("dlq", "redrive", "--force")
        s3.put_object(Bucket=resources.bucket, Key="cut.json.gz", Body=log_file(*good))
        moved = run("dlq", "redrive", letters[0]["id"])
        second = run("run", "--until-idle", "--timeout", "450")

    assert load_settings().queue_url == resources.queue_url
    assert json.loads(first.splitlines()[-1])["RecordsIndexed"] == 6
    assert {letter["reason"] for letter in letters} == {"truncated"}
    assert refused.returncode == 1  # it has no move tasks
    assert refused.stderr.startswith("Error: SQS refuses to move the letters: ")
    assert refused.stderr.endswith("; --one-by-one works without its move task.\n")
    assert moved == "Moved 1 letter back to the source queue.\n"
    assert json.loads(second.splitlines()[-1])["RecordsIndexed"] == 0
    assert {one["eventID"] for one in good} == set(bench.documents())


def run(*words: str) -> str:
    done = trailsink(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout
