"""Promises about what goes into the bundle: what the entry points import, wherever they import it, and nothing else."""

from __future__ import annotations

import pytest

from worker.deploy.bundle_sources import all_sources, bundled_sources, imported_modules, module_path


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        (b"import a.b", {"a", "a.b"}),
        (b"from a import b", {"a", "a.b"}),
        (b"def f():\n    from a.b import c", {"a", "a.b", "a.b.c"}),
        (b"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a", {"typing", "typing.TYPE_CHECKING"}),
    ],
    ids=["module", "name or module", "in a function", "for types only"],
)
def test_an_import_counts_wherever_it_stands(source: bytes, modules: set[str]) -> None:
    """A lazy import that is missing in the bundle would fail in production only; one for types is never carried out."""
    assert imported_modules("worker/x.py", source) == modules


def test_a_relative_import_is_read_from_its_package() -> None:
    """The package does not use them, and a later one must not be left out."""
    assert "worker.aws.s3" in imported_modules("worker/aws/x.py", b"from .s3 import y")


def test_every_bundled_module_has_its_packages_with_it() -> None:
    """Without an `__init__.py`, a package of the bundle would be another one."""
    paths = bundled_sources()

    packages = {path.rpartition("/")[0] for path in paths if path.endswith(".py")}
    assert {f"{package}/__init__.py" for package in packages} <= set(paths)


def test_what_an_operator_runs_is_not_bundled() -> None:
    """The function pays for each module at each cold start, and each can have a hole."""
    assert [path for path in bundled_sources() if path.split("/")[1] in ("cli", "dlq", "backfill", "health")] == []


def test_the_entry_points_and_their_data_are_bundled() -> None:
    """The index template is a file, and the cluster's handler puts it there."""
    paths = bundled_sources()

    assert {"worker/handler.py", "worker/deploy/cluster_handler.py", "worker/deploy/notification_handler.py"} <= set(
        paths
    )
    assert "worker/opensearch/schema/index_template.json" in paths
    assert set(paths) < set(all_sources())


def test_a_module_or_a_package_is_found_by_its_name() -> None:
    """Which of the two a name is, only the files tell."""
    paths = ["worker/errors.py", "worker/aws/__init__.py"]

    assert module_path("worker.errors", paths) == "worker/errors.py"
    assert module_path("worker.aws", paths) == "worker/aws/__init__.py"
    assert module_path("worker.nothing", paths) is None
