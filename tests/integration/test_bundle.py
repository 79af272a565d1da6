"""Promises about the Lambda bundle: it is built from nothing but the pins, and it works where there is nothing else."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import zipfile
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from tests.bench.client.coldstart import Room
from tests.support.event_files import event, log_file
from worker.deploy.bundle import MAX_ZIPPED_BYTES, Bundle, Target, build
from worker.deploy.bundle_sources import ENTRY_POINTS, imported_modules, module_path
from worker.deploy.bundle_wheels import pins_of
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Bench

AARCH64 = 183  # e_machine of ELF

HANDLE = """
import json, sys, time
from worker.handler import handler

until = time.monotonic() + 120

class Context:
    def get_remaining_time_in_millis(self):
        return int((until - time.monotonic()) * 1000)

answer = handler(json.load(sys.stdin), Context())
files = [one for one in (getattr(module, "__file__", None) for module in list(sys.modules.values())) if one]
foreign = [one for one in files if not one.startswith(tuple(sys.path))]
print(json.dumps({"answer": answer, "foreign": foreign}))
"""


def built(target: Target, output: Path) -> Bundle:
    """Build, or skip where the wheels cannot be had."""
    try:
        return build(target, output)
    except SetupError as error:
        if re.search(r"connection|timed out|resolve", str(error), re.IGNORECASE):
            pytest.skip(f"the package index cannot be reached, and the wheels are not here: {error}")
        raise


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle for this interpreter on this machine."""
    return built(Target.of_this_machine(), tmp_path_factory.mktemp("bundle") / "bundle.zip")


@pytest.fixture(scope="module")
def room(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Room:
    """A place with nothing but the bundle's content, boto3 and the standard library."""
    return Room.make(bundle.path, tmp_path_factory.mktemp("room"))


def contents(bundle: Bundle) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle.path) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def sqs_event(messages: list[Any]) -> dict[str, Any]:
    """An event as Lambda's event source mapping makes it of received messages."""
    return {
        "Records": [
            {
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSource": "aws:sqs",
            }
            for one in messages
        ]
    }


def test_built_twice_it_has_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    """Who deploys can tell by the hash that nothing changed, and who audits that the code is what it says."""
    again = built(Target.of_this_machine(), tmp_path / "elsewhere" / "other.zip")

    assert again.path.read_bytes() == bundle.path.read_bytes()
    assert again.sha256 == bundle.sha256


def test_the_bundle_alone_takes_a_file_from_the_queue_to_the_index(bench: Bench, room: Room) -> None:
    """Nothing that a developer happens to have installed may be what makes the function work."""
    records = [event() for _ in range(3)]
    bench.put("AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/one.json.gz", log_file(*records))
    received = bench.sqs.receive_message(QueueUrl=bench.settings.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=5)

    done = subprocess.run(
        room.command(HANDLE),
        input=json.dumps(sqs_event(received["Messages"])),
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["answer"] == {"batchItemFailures": []}
    assert said["foreign"] == []
    assert set(bench.documents()) == {one["eventID"] for one in records}


@pytest.mark.parametrize("door", ENTRY_POINTS)
def test_every_door_opens_in_the_bundle_alone(room: Room, door: str) -> None:
    """A custom resource that cannot be imported answers nobody, and CloudFormation waits an hour for it."""
    said = room.run(f"import importlib; print(importlib.import_module({door!r}).__spec__.cached)")

    assert (room.code / said.stdout.strip()).is_file()


def test_nothing_in_it_imports_what_was_left_out(bundle: Bundle) -> None:
    """Followed from the doors along every import statement, in functions too; what is left needs a reason here."""
    inside = contents(bundle)
    outside = {path for paths in bundle.left_out.values() for path in paths if path.endswith(".py")}

    found = arrows_out(inside, outside)

    assert found == {
        # in `try ... except ImportError`: they would need aiohttp, which is not there either
        ("opensearchpy/__init__.py", "opensearchpy/_async/client/__init__.py"),
        ("opensearchpy/__init__.py", "opensearchpy/_async/http_aiohttp.py"),
        ("opensearchpy/__init__.py", "opensearchpy/_async/transport.py"),
        ("opensearchpy/connection/__init__.py", "opensearchpy/connection/http_async.py"),
        # for a class that is not a model and has __get_validators__
        ("pydantic/_internal/_generate_schema.py", "pydantic/v1/__init__.py"),
    }
    ours = [path for path in inside if path.startswith("worker/") and b"__get_validators__" in inside[path]]
    assert ours == []


def arrows_out(inside: dict[str, bytes], outside: set[str]) -> set[tuple[str, str]]:
    """What is imported of `outside` by all that the doors reach in `inside`."""
    arrows: set[tuple[str, str]] = set()
    seen: set[str] = set()
    waiting = list(ENTRY_POINTS)
    while waiting:
        path = module_path(waiting.pop(), inside)
        if path is None or path in seen:
            continue
        seen.add(path)
        names = imported_modules(path, inside[path])
        arrows |= {(path, there) for name in names if (there := module_path(name, outside))}
        waiting += names
    return arrows


UNWANTED: dict[str, Callable[[str], bool]] = {
    "what the runtime brings": lambda path: path.startswith(("boto3", "botocore", "s3transfer", "jmespath")),
    "what only the command line needs": lambda path: bool(
        re.match(r"(click|rich|worker/(cli|dlq|backfill|health|poller))\b", path)
    ),
    "tests": lambda path: "/tests/" in path or path.startswith(("tests/", "infra/")),
    "type stubs": lambda path: path.endswith((".pyi", "py.typed")),
    "scripts": lambda path: path.startswith("bin/") or ".data/" in path,
}


@pytest.mark.parametrize("unwanted", UNWANTED)
def test_it_holds_nothing_that_it_does_not_need(bundle: Bundle, unwanted: str) -> None:
    """All of it is fetched and unpacked at each cold start, and can have a hole."""
    assert [path for path in contents(bundle) if UNWANTED[unwanted](path)] == []


def test_scanners_can_tell_what_is_in_it(room: Room) -> None:
    """A vulnerable package is found by its name and version; without these the function would look clean."""
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", pins_of("loader").read_text(encoding="utf-8"), re.MULTILINE))

    told = {one.name.lower().replace("_", "-"): one.version for one in metadata.distributions(path=[str(room.code)])}

    assert told == pinned


@pytest.mark.timeout(900)
def test_the_bundle_that_is_deployed_is_built_on_any_machine(tmp_path: Path) -> None:
    """Of wheels for the function's Python and processor, and small enough."""
    deployed = built(Target(), tmp_path / "deployed.zip")

    libraries = {path: body for path, body in contents(deployed).items() if path.endswith(".so")}
    assert {struct.unpack("<H", body[18:20])[0] for body in libraries.values()} == {AARCH64}
    assert all(f"cpython-{Target().python.replace('.', '')}-" in path or ".abi3." in path for path in libraries)
    assert deployed.zipped <= MAX_ZIPPED_BYTES["loader"] == 15_000_000


def test_a_bundle_that_is_too_large_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    """It would be found out by slow cold starts, much later."""
    monkeypatch.setitem(MAX_ZIPPED_BYTES, "loader", bundle.zipped - 1)

    with pytest.raises(SetupError, match="the maximum is"):
        built(Target.of_this_machine(), tmp_path / "large.zip")

    assert list(tmp_path.iterdir()) == []
