"""Promises about the house: imports point inwards, and nothing happens when a module is imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).parents[2] / "worker"

CORE = (
    "errors",
    "messages",
    "objects",
    "files",
    "slicing",
    "records",
    "documents",
    "bulk",
    "pipeline",
    "keys",
    "walk",
    "backfill",
)
EDGES = (
    "opensearch",
    "aws",
    "deployment",
    "metrics",
    "settings",
    "cluster_setup",
    "searching",
    "schema",
    "listing",
    "holdings",
)

# Which of our own modules each one may know, "" for the package itself.
OURS: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "messages": {"errors"},
    "objects": set(),
    "files": {"errors"},
    "slicing": {"errors", "files"},
    "records": {"slicing"},
    "documents": {"errors", "records", "slicing"},
    "bulk": {"documents"},
    "pipeline": {"bulk", "documents", "errors", "files", "messages", "objects", "records", "slicing"},
    "schema": set(),
    "gate": set(),
    "opensearch": {"bulk", "documents", "errors", "gate"},
    "refusals": {"errors"},
    "cluster_setup": {"access", "errors", "refusals", "schema"},
    "searching": {"errors", "objects", "refusals"},
    "dashboards": {"errors", "refusals"},
    "status": {"findings"},
    "looking": {"errors", "metrics", "refusals", "said", "schema", "settings", "status"},
    "said": set(),
    "letters": {"errors", "messages"},
    "mending": {"errors", "letters", "messages", "objects"},
    "survey": {"errors", "letters"},
    "redriving": {"errors", "letters", "mending", "survey"},
    "letter_desk": {"errors", "letters", "mending", "messages", "objects", "redriving", "survey"},
    "letter_detail": {"letter_records", "letters", "mending"},
    "disk": set(),
    "letter_file": {"disk", "errors", "letters"},
    "letter_records": {"errors", "files", "letters", "pipeline", "slicing"},
    "letter_queue": {"aws", "errors", "letters", "redriving", "said", "settings", "wiring"},
    "lambda_context": set(),
    "aws": {"", "errors", "messages", "objects", "pipeline", "said", "short_get"},
    "short_get": {"messages", "pipeline"},
    "deployment": {"errors", "said"},
    "notification": set(),
    "access": {"errors"},
    "removal": {"access", "errors", "refusals", "schema"},
    "metrics": {"pipeline"},
    "settings": {"documents", "errors", "pipeline"},
    "wiring": {"aws", "errors", "opensearch", "pipeline", "settings", "short_get"},
    "poller": {"aws", "errors", "pipeline"},
    "handler": {"lambda_context", "metrics", "pipeline", "settings", "wiring"},
    "custom_resources": {
        "access",
        "aws",
        "cluster_setup",
        "errors",
        "lambda_context",
        "notification",
        "said",
        "settings",
        "wiring",
    },
    "findings": set(),
    "deployed": {"errors", "findings", "said"},
    "doctor_queues": {"errors", "findings", "said", "settings"},
    "doctor_trail": {"doctor_queues", "findings", "notification", "settings"},
    "doctor_function": {"doctor_queues", "findings", "settings"},
    "doctor_cluster": {"access", "cluster_setup", "findings", "schema", "settings"},
    "doctor": {
        "aws",
        "doctor_cluster",
        "doctor_function",
        "doctor_queues",
        "doctor_trail",
        "errors",
        "findings",
        "said",
        "settings",
    },
    "cli_deployment": {
        "cli_parts",
        "cluster_setup",
        "deployed",
        "deployment",
        "doctor",
        "errors",
        "findings",
        "refusals",
        "removal",
        "settings",
        "wiring",
    },
    "cli_parts": {"findings"},
    "cli_dashboards": {"cli_parts", "dashboards", "errors", "settings", "wiring"},
    "cli_search": {"cli_parts", "errors", "searching", "settings", "wiring"},
    "cli_status": {
        "cli_parts",
        "errors",
        "findings",
        "letter_desk",
        "letter_queue",
        "letters",
        "looking",
        "settings",
        "status",
        "wiring",
    },
    "cli_dlq": {
        "aws",
        "cli_parts",
        "errors",
        "letter_desk",
        "letter_detail",
        "letter_file",
        "letter_queue",
        "letter_records",
        "letters",
        "mending",
        "redriving",
        "settings",
        "survey",
        "wiring",
    },
    "keys": set(),
    "walk": {"keys"},
    "backfill": {"walk"},
    "listing": {"errors", "messages", "pipeline", "said", "walk"},
    "holdings": {"errors", "refusals", "schema"},
    "backfill_run": {"backfill", "errors", "messages", "pipeline", "walk"},
    "backfill_state": {"backfill", "disk", "errors", "walk"},
    "backfill_job": {"backfill", "backfill_run", "backfill_state", "holdings", "walk"},
    "cli_backfill": {
        "aws",
        "backfill",
        "backfill_job",
        "backfill_run",
        "backfill_state",
        "cli_parts",
        "errors",
        "holdings",
        "keys",
        "listing",
        "pipeline",
        "settings",
        "walk",
        "wiring",
    },
    "cli": {
        "",
        "access",
        "aws",
        "cli_dashboards",
        "cli_backfill",
        "cli_deployment",
        "cli_parts",
        "cli_search",
        "cli_status",
        "cli_dlq",
        "cluster_setup",
        "errors",
        "holdings",
        "metrics",
        "pipeline",
        "poller",
        "settings",
        "wiring",
    },
}

# Which libraries of others each one may know.
THEIRS: dict[str, set[str]] = {
    "messages": {"msgspec", "pydantic", "pydantic_core"},
    "objects": {"msgspec"},
    "files": {"isal", "msgspec"},
    "slicing": {"msgspec"},
    "records": {"msgspec", "pydantic", "typing_extensions"},
    "documents": {"msgspec"},
    "bulk": {"isal", "msgspec"},
    "pipeline": {"msgspec"},
    "schema": {"msgspec"},
    "opensearch": {"msgspec", "opensearchpy", "requests_aws4auth", "tenacity"},
    "cluster_setup": {"msgspec", "opensearchpy"},
    "short_get": {"botocore", "httptools", "msgspec", "types_boto3_s3", "urllib3"},
    "aws": {"botocore", "msgspec", "urllib3", "types_boto3_s3", "types_boto3_secretsmanager", "types_boto3_sqs"},
    "said": {"botocore"},
    "letters": {"msgspec"},
    "letter_records": {"msgspec"},
    "letter_queue": {"botocore", "types_boto3_sqs"},
    "cli_dlq": {"click", "msgspec", "rich"},
    "redriving": {"msgspec"},
    "letter_detail": {"msgspec"},
    "deployment": {"boto3", "botocore", "types_boto3_cloudformation", "types_boto3_s3"},
    "access": {"opensearchpy"},
    "custom_resources": {"botocore", "msgspec", "opensearchpy", "tenacity", "types_boto3_s3", "urllib3"},
    "notification": {"types_boto3_s3"},
    "deployed": {"botocore", "types_boto3_cloudformation"},
    "doctor_queues": {"botocore", "msgspec"},
    "doctor_trail": {"botocore"},
    "doctor_function": {"botocore", "msgspec"},
    "doctor_cluster": {"opensearchpy"},
    "doctor": {"boto3", "botocore", "opensearchpy"},
    "cli_deployment": {"click", "opensearchpy"},
    "cli_parts": {"click", "msgspec", "rich"},
    "removal": {"opensearchpy"},
    "cli_search": {"click", "msgspec", "opensearchpy"},
    "refusals": {"opensearchpy"},
    "searching": {"opensearchpy", "tenacity"},
    "dashboards": {"opensearchpy"},
    "cli_dashboards": {"click"},
    "looking": {"boto3", "botocore", "opensearchpy"},
    "cli_status": {"click", "rich"},
    "listing": {"botocore", "types_boto3_s3"},
    "holdings": {"opensearchpy", "tenacity"},
    "backfill_state": {"msgspec"},
    "cli_backfill": {"click", "msgspec", "rich"},
    "metrics": {"msgspec"},
    "settings": {"pydantic"},
    "wiring": {"boto3", "botocore", "requests_aws4auth"},
    "cli": {"botocore", "click", "msgspec", "rich"},
}

# The clock, chance, the environment, files, sockets and processes: what would make the core untestable.
WORLD = {
    "os",
    "time",
    "random",
    "secrets",
    "uuid",
    "socket",
    "subprocess",
    "pathlib",
    "io",
    "tempfile",
    "logging",
    "sys",
}


def modules() -> list[str]:
    plain = [path.stem for path in WORKER.glob("*.py")]
    return sorted({"" if name == "__init__" else name for name in plain} | {"schema"})


def source(module: str) -> ast.Module:
    path = WORKER / f"{module}.py" if (WORKER / f"{module}.py").exists() else WORKER / module / "__init__.py"
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(module: str) -> set[str]:
    """Every module that one imports, wherever and for whatever reason, types included."""
    found: set[str] = set()
    for node in ast.walk(source(module)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
    return found


def test_every_module_has_its_place_in_the_house() -> None:
    """A new one is put somewhere on purpose."""
    assert modules() == sorted(OURS)


@pytest.mark.parametrize("module", sorted(OURS))
def test_imports_point_inwards(module: str) -> None:
    """A module knows the layers inside it, and its own neighbour, nothing else."""
    ours = {name.partition(".")[2].partition(".")[0] for name in imported(module) if name.partition(".")[0] == "worker"}
    theirs = {name.partition(".")[0] for name in imported(module)} - set(sys.stdlib_module_names) - {"worker"}

    assert ours <= OURS[module]
    assert theirs <= THEIRS.get(module, set())


def test_the_arrows_have_no_circle() -> None:
    """A circle is one module in two files."""
    settled: set[str] = set()
    while rest := [name for name in OURS if name not in settled and OURS[name] <= settled]:
        settled |= set(rest)

    assert settled == set(OURS)


@pytest.mark.parametrize("module", CORE)
def test_the_core_knows_no_neighbour_no_clock_and_no_chance(module: str) -> None:
    """Times, randomness and neighbours are handed in: that is why these tests need no network and no sleep."""
    names = imported(module)

    assert not names & WORLD
    assert not {name.partition(".")[0] for name in names} & {"boto3", "botocore", "opensearchpy", "requests", "urllib3"}


@pytest.mark.parametrize("module", CORE)
def test_the_core_never_asks_what_time_it_is(module: str) -> None:
    """`datetime.now()` would be a clock by another name."""
    asked = [
        node.lineno
        for node in ast.walk(source(module))
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "utcnow", "today")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("datetime", "date")
    ]

    assert asked == []


def test_edges_do_not_know_each_other() -> None:
    """Only the doors put them together; settings are known to the doors alone."""
    for edge in EDGES:
        assert not OURS[edge] & (set(EDGES) - {"schema"})


def test_one_place_in_each_road_catches_everything() -> None:
    """Anywhere else it would hide a fault; there it is reported as a crash, or answered to CloudFormation."""
    broad = [
        (module, node.lineno)
        for module in OURS
        for node in ast.walk(source(module))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    ]

    assert sorted(module for module, _ in broad) == ["custom_resources", "pipeline"]


WATCH = """
import os, sys, threading
from collections import UserDict

# What these libraries ask for themselves when they are imported is theirs to answer for.
import boto3, botocore.config, opensearchpy, pydantic, requests_aws4auth

asked = []

class Watched(UserDict):
    def __getitem__(self, name):
        asked.append(name)
        return super().__getitem__(name)

    def __contains__(self, name):
        asked.append(name)
        return super().__contains__(name)

os.environ = Watched(os.environ)

def no_network(event, _):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "subprocess.Popen")):
        raise SystemExit(f"{event} while importing")

sys.addaudithook(no_network)
threads = threading.active_count()
for module in sys.argv[1:]:
    __import__(module)
assert threading.active_count() == threads, "a thread was started"
print([name for name in asked if str(name).startswith(("TRAILSINK_", "AWS_"))])
"""


def test_nothing_happens_when_a_module_is_imported() -> None:
    """No network, no thread, and no setting is read before a door asks for it."""
    names = [f"worker.{module}".rstrip(".") for module in modules()]

    done = subprocess.run([sys.executable, "-c", WATCH, *names], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
