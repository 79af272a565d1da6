"""Promises about the installed package: whoever has no clone can do everything that a user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.local.stack import SERVER_VARIABLE
from tests.support.event_files import event, log_file
from worker.deploy.bundle import Target, build
from worker.errors import SetupError

if TYPE_CHECKING:
    from tests.conftest import Bench

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
BUILD_SDIST = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


def run(*words: str | Path, folder: Path, seconds: float = 600) -> str:
    """Run a command to its end in a folder; returns its standard output."""
    process = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from a copy of the checkout: setuptools writes into the folder that it builds."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    for name in ("worker", "infra"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    name = run(sys.executable, "-c", BUILD_SDIST, folder, folder=source).splitlines()[-1]
    return folder / name


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution and not from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, sdist)
    run(sys.executable, *words, folder=folder)
    return next(folder.glob("trailsink-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a new environment that holds the wheel, and the libraries of this one without its checkout."""
    home = tmp_path_factory.mktemp("elsewhere") / "a venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=home).strip())
    # Packages in a folder that a .pth file names are found; .pth files in it, as that of an editable install, are not.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    words = ("-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    run(sys.executable, *words, folder=home)
    return home / "bin" / "trailsink"


def test_the_wheel_holds_the_package_and_nothing_of_the_workshop(wheel: Path) -> None:
    """Tests, benchmarks and the demo stay in the clone; the local stack comes along, with the locks of its jars."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "worker").rglob("*.py")}
    assert ours <= names
    assert {"worker/infra/template.yaml", "worker/infra/lambda.txt", "worker/py.typed"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"worker", "trailsink"}
    assert not [name for name in names if name.startswith(("worker/infra/demo", "worker/infra/generate"))]
    local = {path.relative_to(ROOT).as_posix() for path in (ROOT / "infra" / "local").rglob("*.[pt][yx]*")}
    assert {f"worker/{name}" for name in local if "__pycache__" not in name} <= names
    assert "worker/infra/local/locks/opensearch-3.8.0.txt" in names


def test_the_template_is_the_one_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    """Whoever brings an own deployment pipeline gets it from the command."""
    shown = run(installed, "template", folder=tmp_path)

    assert shown == (ROOT / "infra" / "template.yaml").read_text(encoding="utf-8")


def test_the_bundle_is_the_one_that_the_checkout_builds(installed: Path, tmp_path: Path) -> None:
    """An auditor compares hashes, wherever it was built."""
    target = Target.of_this_machine()
    try:
        expected = build(target, tmp_path / "expected.zip")
    except SetupError as error:
        pytest.skip(f"the bundle cannot be built here: {error}")

    words = ("package", "--arch", target.architecture, "--python", target.python)
    shown = run(installed, *words, folder=tmp_path)

    assert (tmp_path / "build" / target.file_name).read_bytes() == expected.path.read_bytes()
    assert shown.splitlines()[-1] == f"SHA-256 {expected.sha256}"


def test_it_deploys_from_an_empty_folder(bench: Bench, installed: Path, tmp_path: Path) -> None:
    """From `pip install` to a stack: nothing of the clone is needed on the way."""
    target = Target.of_this_machine()
    bench.s3.create_bucket(Bucket="a-trail")
    settings = {
        "Destination": "url",
        "EndpointUrl": bench.settings.opensearch_url,
        "IndexPrefix": bench.prefix,
        "Replicas": "0",
        "Architecture": target.architecture,
        "Runtime": target.runtime,
    }
    parameters = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    stack = ("--stack", "trailsink-wheel")

    run(installed, "package", "--arch", target.architecture, "--python", target.python, folder=tmp_path)
    bundle = ("--bundle", f"build/{target.file_name}")
    created = run(installed, "deploy", "--bucket", "a-trail", *stack, *bundle, *parameters, "--yes", folder=tmp_path)
    checked = subprocess.run(
        [installed, "doctor", *stack], cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
    )
    removed = run(installed, "destroy", *stack, "--yes", folder=tmp_path)

    assert "The stack trailsink-wheel is ready." in created
    assert "template: the stack trailsink-wheel has that of this trailsink" in checked.stdout
    assert "The stack trailsink-wheel is deleted." in removed


@pytest.mark.skipif(SERVER_VARIABLE in os.environ, reason=f"{SERVER_VARIABLE} says: start no node here")
def test_a_folder_of_files_is_searched_on_a_node_of_its_own(installed: Path, tmp_path: Path) -> None:
    """Who has an incident and a copy of the files needs no AWS, no clone, and no setting."""
    key = "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/123456789012_CloudTrail_eu-west-1_20260301T1205Z_x"
    file = tmp_path / "copy" / f"{key}.json.gz"
    file.parent.mkdir(parents=True)
    deletion = {"eventSource": "cloudtrail.amazonaws.com", "eventName": "DeleteTrail"}
    file.write_bytes(log_file(event(**deletion, eventTime="2026-03-01T12:00:00Z")))
    home = Path(tempfile.mkdtemp(prefix="trailsink-"))
    home.chmod(0o755)  # the node may be nobody
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRAILSINK_"))}
    environment |= {"XDG_DATA_HOME": str(home), "XDG_STATE_HOME": str(tmp_path / "state")}

    def local(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed, "local", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800, check=False,
        )  # fmt: skip

    try:
        loaded = local("load", "copy", "--detect", str(ROOT / "infra/demo/rules"), "--report", "report.html")
        running = local("status")
        search = ["sh", "-c", f". '{home}/trailsink/env' && '{installed}' search eventName:DeleteTrail"]
        hits = run(*search, folder=tmp_path)
    finally:
        ended = local("down", "--clean")
        stopped = local("status")
        shutil.rmtree(home)

    assert (loaded.returncode, running.returncode, ended.returncode) == (0, 0, 0), loaded.stdout + loaded.stderr
    assert "records: 1 read, 1 indexed" in loaded.stdout
    assert "1 hit  Audit trail stopped or deleted (high)" in loaded.stdout
    assert "Events from 2026-03-01 to before 2026-03-02." in loaded.stdout
    assert (tmp_path / "report.html").stat().st_size
    assert "DeleteTrail" in hits
    assert "The data is deleted." in ended.stderr
    assert (stopped.returncode, stopped.stdout) == (1, "Nothing is running.\n")


def test_every_command_has_its_help_there(installed: Path, tmp_path: Path) -> None:
    """A module that was forgotten in the list of packages is found by its first user otherwise."""
    listed = run(installed, "--help", folder=tmp_path).partition("Commands:")[2].partition("Examples:")[0]
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2:3].strip()]

    assert len(names) > 10
    for name in names:
        assert "Examples:" in run(installed, name, "--help", folder=tmp_path)
    for command in ("run", "setup", "status", "backfill", "search"):
        missing = {key: value for key, value in os.environ.items() if not key.startswith("TRAILSINK_")}
        process = subprocess.run(
            [installed, command, *(["--yes"] if command == "backfill" else [])],
            cwd=tmp_path, env=missing, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert "Traceback" not in process.stderr
        assert process.returncode == 1
