"""What the benchmarks load: files of real events, repeated with fresh event ids."""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
import re
import string
import uuid
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.cloudtrail.inflate import Inflated
from worker.cloudtrail.split import split_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DATA = Path(__file__).parents[2] / "data"

_UUID = 36  # its length
_UPPER = string.ascii_uppercase + string.digits
_BASE64 = string.ascii_letters + string.digits + "+/"
_KEY_ID = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Let a command be given a folder of events."""
    parser.add_argument(
        "folder", nargs="?", type=_folder_of_events, default=DATA, help="of CloudTrail files (tests/data)"
    )


def _folder_of_events(argument: str) -> Path:
    folder = Path(argument)
    if next(_each_record(folder), None) is None:
        raise argparse.ArgumentTypeError(f"{argument} has no CloudTrail files, *.json.gz or *.jsonl.gz.")
    return folder


def real_records(folder: Path = DATA) -> list[bytes]:
    """Return every record below a folder as its bytes: of CloudTrail files, and of `*.jsonl.gz`, one to a line."""
    return list(_each_record(folder))


def _each_record(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*.json*.gz")):
        content = gzip.decompress(path.read_bytes())
        if path.name.endswith(".jsonl.gz"):
            yield from content.splitlines()
        elif b'"Records"' in content[:200]:
            yield from map(bytes, split_records(Inflated(content)).records)


def distinct(folder: Path = DATA) -> list[bytes]:
    """Return each real event below a folder once, by its event id."""
    return list({json.loads(raw).get("eventID", raw): raw for raw in real_records(folder)}.values())


def fresh(folder: Path = DATA) -> Iterator[bytes]:
    """Yield real records for ever, each with an event id of its own."""
    return (_with_fresh_id(raw) for raw in itertools.cycle(real_records(folder)))


def varied(records: Iterable[bytes], seed: int) -> Iterator[bytes]:
    """Yield each record as it might come again, the same for the same seed.

    Ids are other ids, callers' keys and addresses other ones throughout, and the time moves by up to a day. What was
    asked for and answered stays, which flatters whatever compresses.
    """
    chance = random.Random(seed)
    return (_varied(raw, chance, seed) for raw in records)


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


def _with_fresh_id(raw: bytes) -> bytes:
    event = json.loads(raw)
    event["eventID"] = str(uuid.uuid4())
    return json.dumps(event, separators=(",", ":")).encode()


def _varied(raw: bytes, chance: random.Random, seed: int) -> bytes:
    text = _KEY_ID.sub(lambda key: key[1] + _other_key(key[0], seed), raw.decode())
    event = json.loads(_ADDRESS.sub(lambda address: _other_address(address[0], seed), text))
    event["eventID"] = _other_id(chance)
    match event:
        case {"requestID": str(id_)}:
            event["requestID"] = _other_id(chance) if len(id_) == _UUID else _letters(chance, _UPPER, len(id_))
    match event:
        case {"additionalEventData": {"x-amz-id-2": str(id_)} as more}:
            more["x-amz-id-2"] = _letters(chance, _BASE64, len(id_))
    _move(event, chance.randrange(86_400))
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def _other_id(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _letters(chance: random.Random, letters: str, length: int) -> str:
    return "".join(chance.choices(letters, k=length))


@cache
def _other_key(key: str, seed: int) -> str:
    return _letters(random.Random(f"{key}{seed}"), _UPPER, 16)


@cache
def _other_address(address: str, seed: int) -> str:
    chance = random.Random(f"{address}{seed}")
    return ".".join(str(chance.randint(1, 254)) for _ in range(4))


def _move(event: dict[str, Any], seconds: int) -> None:
    match event:
        case {"eventTime": str(time)} if _TIME.fullmatch(time):
            moved = datetime.fromisoformat(time) + timedelta(seconds=seconds)
            event["eventTime"] = moved.strftime("%Y-%m-%dT%H:%M:%SZ")
