"""What a bundle says of itself: the architecture and the Python that it is for, and the trailsink in it.

A stack's parameters follow from it, so a function never gets the code of another processor.
"""

from __future__ import annotations

import io
import zipfile
from typing import Literal

import msgspec

from worker.errors import SetupError

PATH = "trailsink-bundle.json"  # in the bundle


# What a bundle is for: the loader, or the functions that run on a schedule.
Contents = Literal["loader", "scheduled"]


class BundleManifest(msgspec.Struct, frozen=True):
    """The manifest of a bundle; `version` is trailsink's."""

    architecture: str
    python: str
    version: str
    contents: Contents = "loader"

    @property
    def parameters(self) -> dict[str, str]:
        """The template's parameters that follow from it."""
        return {"Architecture": self.architecture, "Runtime": f"python{self.python}"}

    def encode(self) -> bytes:
        """Return the file for the bundle."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read_manifest(bundle: bytes, name: str, contents: Contents = "loader") -> BundleManifest:
    """Read the manifest of a bundle; raises SetupError, with the bundle's `name`, when it is not such a bundle."""
    command = "trailsink package" if contents == "loader" else "trailsink package --scheduled"
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            manifest = msgspec.json.decode(archive.read(PATH), type=BundleManifest)
    except (zipfile.BadZipFile, KeyError, msgspec.DecodeError) as error:
        raise SetupError(f"{name} is no bundle of trailsink: build one with `{command}`.") from error
    if manifest.contents != contents:
        raise SetupError(f"{name} is the {manifest.contents} bundle, not the {contents} one: `{command}` builds that.")
    return manifest


def check_parameters(manifest: BundleManifest, parameters: dict[str, str]) -> dict[str, str]:
    """Return parameters with those of the manifest; raises SetupError when they contradict it."""
    for name, value in manifest.parameters.items():
        if parameters.get(name, value) != value:
            raise SetupError(
                f"The bundle is for {manifest.architecture} and Python {manifest.python}, so {name} cannot be"
                f" {parameters[name]}: leave it out, or build another bundle with `trailsink package`."
            )
    return parameters | manifest.parameters


def check_target(
    parameters: dict[str, str], existing: dict[str, str], *, code: bytes | None, scheduled_code: bytes | None
) -> None:
    """Raise SetupError when functions of a stack would get another processor or Python than their code is for.

    `existing` are the stack's parameters, and the code is what a deployment brings, None for what stays.
    """
    now = {name: existing[name] for name in ("Architecture", "Runtime") if existing.get(name)}
    changed = [name for name, value in now.items() if parameters.get(name, value) != value]
    if not changed:
        return
    target = " and ".join(now.values())
    if not code:
        raise SetupError(
            f"The code of the stack is for {target}, so {changed[0]} cannot change without a bundle: build one with"
            " `trailsink package`, and pass it as --bundle."
        )
    if existing.get("ScheduledCodeKey") and not scheduled_code:
        raise SetupError(
            f"The code of the stack's scheduled functions is for {target}: build theirs with `trailsink package"
            " --scheduled`, and pass it as --scheduled-bundle."
        )
