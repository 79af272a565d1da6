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
