"""What the benchmarks load: files of real events, repeated with fresh event ids."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from worker.files import Text
from worker.slicing import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DATA = Path(__file__).parents[1] / "data"


def real_records(folder: Path = DATA) -> list[bytes]:
    """Return every record of the CloudTrail files below a folder, as its bytes."""
    records: list[bytes] = []
    for path in sorted(folder.rglob("*.json.gz")):
        text = Text(gzip.decompress(path.read_bytes()))
        if b'"Records"' in text.content[:200]:
            records += [bytes(raw) for raw in cut(text).records]
    return records


def fresh(folder: Path = DATA) -> Iterator[bytes]:
    """Yield real records for ever, each with an event id of its own."""
    return (_with_fresh_id(raw) for raw in itertools.cycle(real_records(folder)))


def packed(records: Iterable[bytes], level: int = 6) -> bytes:
    """Put records into one gzipped CloudTrail file."""
    return gzip.compress(b'{"Records":[' + b",".join(records) + b"]}", level)


def one_file(folder: Path, records: int) -> bytes:
    """Build one file of so many records."""
    return packed(itertools.islice(fresh(folder), records))


def many_files(folder: Path, files: int, records: int) -> list[bytes]:
    """Build files of so many records each."""
    several = fresh(folder)
    return [packed(itertools.islice(several, records)) for _ in range(files)]


# Of a hundred files of a trail, so many hold from..to records: most are a handful, and a few hold most of the events.
_SIZES = ((60, 1, 5), (20, 6, 20), (14, 21, 150), (5, 151, 1_000), (1, 1_001, 5_000))


def trail(folder: Path, files: int, seed: int = 0) -> list[bytes]:
    """Build the files of a busy trail: their sizes as they are in one."""
    chance = random.Random(seed)
    sizes = [chance.randint(low, high) for share, low, high in _SIZES for _ in range(files * share // 100)]
    chance.shuffle(sizes)
    several = fresh(folder)
    return [packed(itertools.islice(several, size)) for size in sizes]


def count(file: bytes) -> int:
    """Count the records of a file that was made here."""
    return gzip.decompress(file).count(b'"eventID":')


def _with_fresh_id(raw: bytes) -> bytes:
    event = json.loads(raw)
    event["eventID"] = str(uuid.uuid4())
    return json.dumps(event, separators=(",", ":")).encode()
