"""Promises about public keys: each proves itself, and AWS is asked once for a month."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.signed_trail import REGION, START, public_key
from worker.errors import SetupError
from worker.verify.keys import KeyRing, KeysUnavailable, PublicKey, read_keys, write_keys

if TYPE_CHECKING:
    from pathlib import Path


class Region:
    """CloudTrail in one region; it may refuse."""

    def __init__(self, *keys: PublicKey, refuses: bool = False) -> None:
        self.keys, self.refuses = keys, refuses
        self.asked: list[tuple[str, datetime, datetime]] = []

    def fetch(self, region: str, since: datetime, until: datetime) -> list[PublicKey]:
        self.asked.append((region, since, until))
        if self.refuses:
            raise KeysUnavailable("AccessDenied")
        return [key for key in self.keys if key.region == region]


def test_a_file_of_keys_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Both encodings, in a stable order."""
    path = tmp_path / "new" / "keys.json"
    keys = [public_key(1), public_key(0, spki=True)]

    write_keys(path, keys)

    assert sorted(read_keys(path), key=lambda key: key.fingerprint) == sorted(keys, key=lambda key: key.fingerprint)


def test_the_output_of_aws_cli_is_a_file_of_keys(tmp_path: Path) -> None:
    """It has no region: such a key counts for any."""
    path = tmp_path / "keys.json"
    write_keys(path, [public_key(region="")])
    assert '"Region"' not in path.read_text()

    key, _ = KeyRing(read_keys(path)).find("any-region-1", public_key().fingerprint, START)

    assert key is not None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"PublicKeyList":[{"Fingerprint":"x","Value":"AAAA"}]}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    """With a name, and no traceback."""
    path = tmp_path / "keys.json"
    path.write_text(content)

    with pytest.raises(SetupError, match="is not a file of CloudTrail's public keys"):
        read_keys(path)


def test_a_key_under_another_fingerprint_is_refused(tmp_path: Path) -> None:
    """A forged bucket comes with forged keys."""
    path = tmp_path / "keys.json"
    write_keys(path, [public_key(fingerprint="0" * 32)])

    with pytest.raises(SetupError, match="has another fingerprint"):
        read_keys(path)


def test_aws_is_asked_once_and_its_keys_are_cached(tmp_path: Path) -> None:
    """A day of a large organisation has 400,000 digests, and a region some keys a month."""
    region, cache = Region(public_key()), tmp_path / "cache.json"
    ring = KeyRing([], region, cache)

    for _ in range(3):
        assert ring.find(REGION, public_key().fingerprint, START)[0] is not None
        assert ring.find(REGION, "0" * 32, START)[0] is None

    assert len(region.asked) == 1
    assert region.asked[0][1] <= START <= region.asked[0][2] - timedelta(hours=2)
    assert KeyRing(read_keys(cache)).find(REGION, public_key().fingerprint, START)[0] is not None


def test_keys_that_cannot_be_read_are_no_verdict() -> None:
    """Missing rights are not CloudTrail's missing signature, for no digest of the region."""
    ring = KeyRing([], Region(refuses=True))

    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            ring.find(REGION, public_key().fingerprint, START)
