"""CloudTrail's public keys: asked of AWS by region, cached in the state folder, or read from a file.

A key proves itself: a digest names the MD5 of the DER bytes that ListPublicKeys returns.
docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_ListPublicKeys.html
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import md5
from typing import TYPE_CHECKING, Protocol

import msgspec

from worker.atomicfile import make_private_folders, write_atomically
from worker.backfill.checkpoint import translate_disk_errors
from worker.errors import SetupError, Unavailable
from worker.verify.signatures import load_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

# A key signs for some time around its own validity. github.com/aws/aws-cli/issues/10072
_ROTATION = timedelta(hours=2)


class KeysUnavailable(Unavailable):
    """The keys of a region cannot be read, so its digests cannot be judged."""


class PublicKey(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """One public key, as AWS lists it: `value` is DER, `fingerprint` its MD5. `region` is "" where nobody noted it."""

    fingerprint: str
    value: bytes
    validity_start_time: datetime
    validity_end_time: datetime
    region: str = ""

    def check(self) -> None:
        """Raise ValueError unless it is an RSA key with its own fingerprint."""
        if md5(self.value, usedforsecurity=False).hexdigest() != self.fingerprint.lower():
            raise ValueError(f"the key {self.fingerprint} has another fingerprint")
        load_key(self.value)

    def is_valid_at(self, time: datetime) -> bool:
        """Return whether it signed digests that ended at this time."""
        return self.validity_start_time - _ROTATION <= time <= self.validity_end_time + _ROTATION


class KeyFile(msgspec.Struct, rename="pascal"):
    """Keys in a file: what `aws cloudtrail list-public-keys` prints, with the region of each."""

    public_key_list: list[PublicKey]


class PublicKeySource(Protocol):
    """Where keys come from."""

    def fetch(self, region: str, since: datetime, until: datetime) -> Sequence[PublicKey]:
        """Return the keys of a region that were valid in a time; raises KeysUnavailable."""


def read_keys(path: Path) -> list[PublicKey]:
    """Read a file of keys; raises SetupError unless each is a key with its own fingerprint."""
    with translate_disk_errors(path):
        content = path.read_bytes()
    try:
        keys = msgspec.json.decode(content, type=KeyFile).public_key_list
        for key in keys:
            key.check()
    except (msgspec.DecodeError, ValueError) as error:
        raise SetupError(f"{path} is not a file of CloudTrail's public keys: {error}.") from error
    return keys


def write_keys(path: Path, keys: Iterable[PublicKey]) -> None:
    """Write a file of keys, in a stable order; raises SetupError."""
    ordered = sorted(keys, key=lambda key: (key.region, key.validity_start_time, key.fingerprint))
    with translate_disk_errors(path):
        make_private_folders(path.absolute().parent)
        with write_atomically(path) as file:
            file.write(msgspec.json.format(msgspec.json.encode(KeyFile(ordered)), indent=2) + b"\n")


@dataclass(slots=True)
class KeyRing:
    """The keys of a run, by region and fingerprint; thread-safe. Without a `source`, only those of a file are known."""

    keys: list[PublicKey] = field(default_factory=list)
    source: PublicKeySource | None = None
    cache: Path | None = None
    _loaded: dict[str, RSAPublicKey] = field(default_factory=dict)
    _asked: set[tuple[str, datetime, datetime]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, region: str, fingerprint: str, ended_at: datetime) -> tuple[RSAPublicKey | None, str]:
        """Return the key of a digest, or None and why there is none; raises KeysUnavailable."""
        with self._lock:
            matching = self._matching(region, fingerprint)
            if not matching and self.source:
                self._fetch(region, ended_at, self.source)
                matching = self._matching(region, fingerprint)
            if not matching:
                return None, f"no public key of {region} has the fingerprint {fingerprint}"
            if not any(key.is_valid_at(ended_at) for key in matching):
                return None, f"the public key {fingerprint} was not valid at that time"
            if fingerprint not in self._loaded:
                self._loaded[fingerprint] = load_key(matching[0].value)
            return self._loaded[fingerprint], ""

    def _matching(self, region: str, fingerprint: str) -> list[PublicKey]:
        return [key for key in self.keys if key.fingerprint == fingerprint and key.region in ("", region)]

    def _fetch(self, region: str, ended_at: datetime, source: PublicKeySource) -> None:
        """Ask for the keys of a month around a digest, once."""
        month = ended_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        window = month - timedelta(days=1), month + timedelta(days=33)
        if (region, *window) in self._asked:
            return
        for key in source.fetch(region, *window):
            if key not in self.keys:
                self.keys.append(key)
        self._asked.add((region, *window))  # only now: keys that could not be read are asked for again
        if self.cache:
            write_keys(self.cache, self.keys)

    @property
    def used(self) -> list[str]:
        """The fingerprints of the keys that were needed, sorted."""
        return sorted(self._loaded)
