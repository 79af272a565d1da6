"""Promises about the house: imports point downwards, the core is pure, and nothing happens at import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
WORKER, UNIT = ROOT / "worker", ROOT / "tests" / "unit"
MODULES = sorted(WORKER.rglob("*.py"))

# From the ground up. A package may import itself and the layers below it; packages of one layer do not know each other.
LAYERS = (
    ("", "errors", "atomicfile", "humanize", "cutoff"),
    ("cloudtrail",),
    ("pipeline",),
    ("telemetry", "settings"),
    ("aws", "opensearch"),
    ("wiring",),
    ("dlq", "backfill", "health", "detect", "boards"),
    ("deploy", "verify"),
    ("handler", "poller"),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Pure tables of the outside world, which every layer may read: they import nothing of ours, and no SDK.
TABLES = {"worker.aws.partitions"}

# The core knows no neighbour, no clock and no chance: they are handed in, so its tests need no network and no sleep.
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
CORE_LIBRARIES = {"isal", "msgspec", "pydantic", "pydantic_core", "typing_extensions"}
SDKS = {"boto3", "botocore", "opensearchpy", "requests", "urllib3"}

# Pure modules beside the core: they decide, and others talk to AWS and the cluster.
PURE = (
    "dlq.letters", "dlq.eligibility", "dlq.redrive", "dlq.summary", "dlq.views",
    "backfill.selection", "backfill.listing", "backfill.progress", "backfill.key_ranges", "backfill.retry",
    "verify.states", "verify.coverage", "verify.chain", "verify.digests", "verify.verdict",
    "health.findings", "health.flow_rules", "health.flow_snapshot", "health.iam", "health.rules", "health.snapshot",
    "health.status", "health.status_flow", "health.template_rules",
)  # fmt: skip

# What the Lambda function must not carry.
OPERATORS = {"dlq", "backfill", "boards", "health", "detect", "deploy", "verify", "cli", "poller"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(WORKER.parent).with_suffix("").parts).removesuffix(".__init__")


def package(name: str) -> str:
    """The first level below worker: "aws" for worker.aws.s3, "" for worker itself."""
    return name.partition(".")[2].partition(".")[0]


def imported(path: Path) -> set[str]:
    """Every module that one imports, wherever and for whatever reason, types included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
    return found


def path_of(module: str) -> Path:
    stem = WORKER.parent / Path(*module.split("."))
    return stem.with_suffix(".py") if stem.with_suffix(".py").exists() else stem / "__init__.py"


def closure(module: str) -> set[str]:
    """All of our modules that importing one can bring, lazy imports too, imports for types left out."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or not path_of(name).exists():
            continue
        found.add(name)
        tree = ast.parse(path_of(name).read_text(encoding="utf-8"))
        typing = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if (
                not isinstance(node, ast.ImportFrom)
                or id(node) in typing
                or not (node.module or "").startswith("worker")
            ):
                continue
            origin = str(node.module)
            waiting += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return found


def test_the_first_level_fits_on_a_screen() -> None:
    """Whoever opens the folder sees the architecture: at most twenty-one names, each with its place in a layer."""
    names = {package(module_name(path)) for path in MODULES}

    assert names <= set(LEVEL)
    assert len(names - {""}) <= 21


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    """A module knows its own package and the layers below it, nothing else."""
    own = package(module_name(path))

    ours = {package(name) for name in imported(path) - TABLES if name.partition(".")[0] == "worker"} - {own}

    assert {name for name in ours if LEVEL[name] >= LEVEL[own]} == set()


@pytest.mark.parametrize("module", sorted(TABLES))
def test_a_table_that_everybody_reads_reads_nothing(module: str) -> None:
    """Otherwise it would be a way around the layers."""
    libraries = {name.partition(".")[0] for name in imported(path_of(module))}

    assert libraries <= set(sys.stdlib_module_names) - WORLD


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent != WORKER and path.name == "__init__.py"])
def test_a_package_s_face_holds_its_sentence_and_nothing_else(path: Path) -> None:
    """A re-export would pull its module into every cold start."""
    if path.parent.name != "schema":
        assert [type(node) for node in ast.parse(path.read_text(encoding="utf-8")).body] == [ast.Expr]


@pytest.mark.parametrize(
    "path", [path for path in MODULES if package(module_name(path)) in ("cloudtrail", "pipeline")], ids=module_name
)
def test_the_core_is_pure(path: Path) -> None:
    """Times, randomness and neighbours are handed in: that is why these tests need no network and no sleep."""
    libraries = {name.partition(".")[0] for name in imported(path)} - {"worker"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    clocks = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "utcnow", "today")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("datetime", "date")
    ]

    assert not libraries & WORLD
    assert libraries - set(sys.stdlib_module_names) <= CORE_LIBRARIES
    assert clocks == []


@pytest.mark.parametrize("module", PURE)
def test_what_decides_for_the_operator_is_pure_too(module: str) -> None:
    """Judgements are values in and values out; the clients stand beside them."""
    libraries = {name.partition(".")[0] for name in imported(path_of(f"worker.{module}"))}

    assert not libraries & SDKS


def test_the_function_carries_nothing_of_the_operator() -> None:
    """A cold start pays for every module; a lazy import counts, because the bundle has to hold it."""
    modules = closure("worker.handler")

    assert {name for name in modules if package(name) in OPERATORS} == set()


def test_one_place_on_each_way_catches_everything() -> None:
    """Anywhere else it would hide a fault; there it is reported as a crash, or answered to CloudFormation."""
    broad = [
        module_name(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    ]

    assert broad == ["worker.deploy.custom_resource", "worker.pipeline.consumer"]


WATCH = """
import os, sys, threading
from collections import UserDict

# What these libraries ask for themselves when they are imported is theirs to answer for.
import boto3, botocore.config, opensearchpy, prometheus_client, pydantic, requests_aws4auth

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
    names = [module_name(path) for path in MODULES]

    done = subprocess.run([sys.executable, "-c", WATCH, *names], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


# Modules without tests of their own in tests/unit, and what tests them instead.
TESTED_ELSEWHERE = {
    "opensearch/reindex/from_files": "tests/integration/test_reindex_from_files.py: on a real node",
    "opensearch/reindex/filler": "tests/integration/test_reindex.py: two names and a protocol",
    "boards/drawing": "tests/unit/boards/test_page.py: as part of a page",
    "boards/investigate": "tests/unit/boards/test_panels.py: all boards",
    "boards/new_values": "tests/integration/test_report.py: on a real node",
    "boards/overview": "tests/unit/boards/test_panels.py: all boards",
    "boards/pipeline": "tests/unit/boards/test_panels.py: all boards",
    "boards/origins": "tests/integration/test_report.py: on a real node",
    "cli/search_origins": "tests/integration/test_report.py: with a database, on a real node",
    "boards/searches": "tests/integration/test_panels.py: every panel, on a real node",
    "boards/report": "tests/integration/test_report.py: on a real node",
    "cli/report": "tests/integration/test_report.py: on a real node",
    "pipeline/addresses": "tests/unit/test_settings.py: as settings",
    "aws/fast_get": "tests/integration/test_fast_get.py: against boto3, on a real server and on one that misbehaves",
    "aws/digest_keys": "tests/integration/test_verify.py: the signatures; test_verify_oracle.py has AWS's own reading",
    "aws/http1": "tests/integration/test_fast_get.py: its only user",
    "aws/interruptible": "tests/faults/test_slow_neighbours.py: on a bucket that drips",
    "aws/lambda_context": "a protocol: mypy",
    "pipeline/notification_models": "tests/unit/pipeline/test_notifications.py: its only user",
    "cli/commands/*": "tests/unit/cli/test_help.py: declarations, each held against its implementation",
    "health/policy_facts": "tests/unit/health/test_cluster_checks.py: and tests/integration/test_troubles.py, with ISM",
    "health/retention_snapshot": "tests/unit/health/test_retention_rules.py: values",
    "cli/filter": "tests/integration/test_filters.py: on a real node, a bucket and a folder",
    "opensearch/filter_trial": "tests/integration/test_filters.py: on a real node",
    "opensearch/filter_suggestion": "tests/integration/test_filters.py: on a real node",
    "backfill/filter_trial": "tests/integration/test_filters.py: held against the index",
    "cloudtrail/filters/trial": "tests/unit/cli/test_filter_report.py: what its only user prints",
    "cli/env": "tests/integration/test_deploy.py: on the stand-in for AWS",
    "cli/deploy": "tests/integration/test_deploy.py: on the stand-in for AWS",
    "cli/destroy": "tests/integration/test_deploy.py: on the stand-in for AWS",
    "cli/stack_operations": "tests/integration/test_deploy.py: on the stand-in for AWS",
    "cli/dlq/*": "tests/unit/cli/test_dlq.py: all commands of the group, on one queue",
    "cli/doctor": "tests/integration/test_doctor.py: on real parts",
    "cli/main": "tests/unit/cli/test_help.py: every command is called by way of it",
    "deploy/stack_change": "tests/unit/deploy/test_stack.py: the changes of a change set",
    "deploy/stack_needs": "tests/unit/deploy/test_needs.py: a table, and its only user",
    "cli/package": "tests/integration/test_wheel.py: from an installed wheel",
    "cli/sources": "tests/unit/cli/test_backfill.py: by the command",
    "cli/setup": "tests/integration/test_pipeline.py: on a real node",
    "cli/hold": "tests/integration/test_holds.py: on a real node",
    "health/hold_checks": "tests/integration/test_holds.py: on a real node",
    "opensearch/holds": "tests/unit/opensearch/test_hold_indices.py: the list, as its user reads and writes it",
    "opensearch/write_once": "tests/integration/test_holds.py: on a real node",
    "cli/ledger": "tests/integration/test_verify.py: on real parts",
    "cli/status": "tests/integration/test_status_command.py: on real parts",
    "cli/verify": "tests/integration/test_verify.py: on real parts",
    "cli/detect": "tests/integration/test_detect.py: as a process, on a real node",
    "detect/backtest": "tests/integration/test_detect.py: on a real node",
    "detect/conditions": "tests/unit/detect/test_rule_files.py: every clause, as part of a rule",
    "detect/events": "tests/integration/test_detect.py: on a real node",
    "detect/findings": "tests/integration/test_detect.py: on a real node, by runs that are killed",
    "detect/run": "tests/integration/test_detect.py: on a real node, by runs that are killed",
    "detect/values": "tests/unit/detect/test_rule_files.py: every form of value, as part of a rule",
    "cli/cost": "tests/integration/test_cost.py: on a real node",
    "opensearch/cost": "tests/integration/test_cost.py: on a real node",
    "cli/roles": "tests/integration/test_secured.py: on a secured node",
    "cli/template_check": "tests/integration/test_verify.py: a command that is refused, on a real node",
    "cli/reindex": "tests/integration/test_reindex.py: as a process, on a real node",
    "opensearch/reindex/*": "tests/integration/test_reindex.py: on a real node, by runs that are killed",
    "deploy/bundle": "tests/integration/test_bundle.py: builds one",
    "deploy/bundle_wheels": "tests/integration/test_bundle.py: downloads the wheels",
    "opensearch/discards": "tests/integration/test_troubles.py: on a real node",
    "errors": "classes without code",
    "health/flow_checks": "tests/unit/health/test_bucket_facts.py: beside the line of status on the same facts",
    "health/flow_snapshot": "values without code",
    "health/status_flow": "tests/unit/health/test_status.py: lines of its report",
    "opensearch/interruptible": "tests/faults/test_slow_neighbours.py: on a cluster that drips",
    "opensearch/query_values": "tests/unit/opensearch/test_query.py: every form of value, as part of a query",
    "opensearch/sender": "tests/faults/test_misbehaving_server.py: on a real socket server",
    "health/ledger_checks": "tests/unit/health/test_agreement.py: both commands on the same facts",
    "pipeline/limits": "values without code",
    "pipeline/ports": "protocols: mypy",
    "verify/chain": "tests/unit/verify/test_run.py: on whole trails",
    "verify/checkpoint": "tests/integration/test_verify.py: on real parts",
    "verify/coverage": "tests/unit/verify/test_run.py: on whole trails",
    "verify/deep": "tests/integration/test_verify.py: on a real index",
    "verify/evidence": "tests/integration/test_verify.py: on real parts",
    "verify/join": "tests/unit/verify/test_run.py: without an index; tests/integration/test_verify.py has one",
    "verify/load": "tests/integration/test_verify.py: on real parts",
    "verify/rebuild": "tests/integration/test_verify.py: on a real index",
    "verify/signatures": "tests/unit/verify/test_run.py: on whole trails",
    "verify/states": "tests/unit/verify/test_verdict.py: its only reader",
    "verify/unit": "tests/unit/verify/test_run.py: on whole trails",
    "poller": "tests/faults/test_neighbours.py: as a process that is stopped and killed",
}


def test_every_module_has_unit_tests_of_its_own_or_a_reason() -> None:
    """Whoever changes a module finds its tests by its name."""
    names = {path.relative_to(WORKER).with_suffix("").as_posix() for path in MODULES if path.name != "__init__.py"}
    tested = {
        path.relative_to(UNIT).with_name(path.name.removeprefix("test_")).with_suffix("").as_posix()
        for path in UNIT.rglob("test_*.py")
    }

    missing = names - tested
    excused = {name for name in names for pattern in TESTED_ELSEWHERE if PurePosixPath(name).match(pattern)}
    stale = {pattern for pattern in TESTED_ELSEWHERE if not any(PurePosixPath(name).match(pattern) for name in missing)}

    assert missing - excused == set()
    assert stale == set()
    assert [
        where
        for where in TESTED_ELSEWHERE.values()
        if where.startswith("tests/") and not (ROOT / where.partition(":")[0]).exists()
    ] == []
