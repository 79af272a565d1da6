"""Promises about the files for containers and services: they start what there is, and are what their tools accept.

No image is built here. `make lint-process` has a linter read them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.cli.main import main
from worker.settings import Settings, variable

ROOT = Path(__file__).parents[2]
FILES = ROOT / "infra" / "process"
DOCKERFILE = (FILES / "Dockerfile").read_text(encoding="utf-8")
UNIT = (FILES / "trailsink.service").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((FILES / "compose.yaml").read_text(encoding="utf-8"))["services"]["trailsink"]
MANIFEST = {
    document["kind"]: document
    for document in yaml.safe_load_all((FILES / "kubernetes.yaml").read_text(encoding="utf-8"))
}
POD: dict[str, Any] = MANIFEST["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]

COMMANDS = {
    "Dockerfile": ["run", "--health", "8080", "--no-progress"],
    "kubernetes.yaml": CONTAINER["args"],
    "trailsink.service": re.findall(r"^ExecStart=\S+/trailsink (.*)$", UNIT, re.MULTILINE)[0].split(),
}


def test_the_container_runs_what_is_held_here() -> None:
    """The Dockerfile is no data: its last line is compared as text."""
    words = ", ".join(f'"{word}"' for word in COMMANDS["Dockerfile"])

    assert DOCKERFILE.endswith(f'ENTRYPOINT ["trailsink"]\nCMD [{words}]\n')


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_each_starts_a_command_that_there_is(words: list[str]) -> None:
    """A container whose command is refused starts again for ever."""
    context = main.make_context("trailsink", list(words))
    command = main.get_command(context, words[0])
    assert command is not None

    options = command.make_context(words[0], list(words[1:]), parent=context).params

    assert options["health"] == 8080
    assert options["progress"] is False


def test_the_settings_are_settings() -> None:
    """A misspelt one is a warning that nobody reads in a container."""
    names = set(COMPOSE["environment"]) | set(MANIFEST["ConfigMap"]["data"])

    credentials = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}

    assert names - credentials <= {*map(variable, Settings.model_fields), "AWS_REGION"}
    assert all(COMPOSE["environment"][name] is None for name in credentials)  # as the shell has them, never a value
    assert {"TRAILSINK_QUEUE_URL", "TRAILSINK_DEAD_LETTER_QUEUE_URL", "TRAILSINK_OPENSEARCH_URL"} <= names


def test_the_probes_ask_what_the_process_answers() -> None:
    """A probe of a path that is not there kills a healthy process."""
    served = set(re.findall(r'case "(/\w+)"', (ROOT / "worker/cli/probes.py").read_text(encoding="utf-8")))
    probes = {name: CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    [port] = CONTAINER["ports"]
    annotations = MANIFEST["Deployment"]["spec"]["template"]["metadata"]["annotations"]

    assert {probe["path"] for probe in probes.values()} | {annotations["prometheus.io/path"]} == served
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert str(port["containerPort"]) == annotations["prometheus.io/port"] == CONTAINER["args"][2]
    assert "127.0.0.1:8080/live" in DOCKERFILE


def test_each_waits_longer_for_the_end_than_a_hung_cluster_takes() -> None:
    """Killed in the middle, its messages stay hidden for minutes."""
    limits = [
        POD["terminationGracePeriodSeconds"],
        int(COMPOSE["stop_grace_period"].removesuffix("s")),
        int(re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[0]),
    ]

    assert min(limits) >= Settings().request_seconds + 20


def test_nobody_runs_as_root() -> None:
    """A number, because Kubernetes cannot tell whether a name is root."""
    assert f"\nUSER {POD['securityContext']['runAsUser']}\n" in DOCKERFILE
    assert POD["securityContext"]["runAsNonRoot"]
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    assert COMPOSE["read_only"]
    assert "DynamicUser=yes" in UNIT


def test_the_image_holds_only_what_is_pinned() -> None:
    """The same inputs, the same image; a package that is not in the list cannot slip in."""
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    installs = [line for line in DOCKERFILE.splitlines() if "pip install" in line]
    pins = (ROOT / "requirements/process.txt").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]]

    assert len(set(stages)) == 1
    assert all("--require-hashes" in line or "--no-deps --no-build-isolation" in line for line in installs)
    assert pins.count("==") == len(re.findall(r"^[a-z0-9-]+==[^\n]+ \\\n    --hash=sha256:", pins, re.MULTILINE))
    assert {name for name in required if f"\n{name}==" not in f"\n{pins}"} == set()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """A misspelt directive is ignored with a warning, and its protection with it."""
    unit, program = tmp_path / "trailsink.service", tmp_path / "trailsink"
    program.symlink_to(sys.executable)  # the checkout's own path may have a space, which a unit would have to quote
    unit.write_text(UNIT.replace("/opt/trailsink/bin/trailsink", str(program)), encoding="utf-8")

    checked = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=120, check=False
    )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
