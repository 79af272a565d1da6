"""The join of one unit: what digests name, what the bucket holds, and what the ledger and the index say was loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from worker.cloudtrail.inflate import inflate
from worker.cloudtrail.keys import delivered_at
from worker.cloudtrail.split import split_records
from worker.errors import NoEvents, Reason, UnreadableObject
from worker.pipeline.ledger import DISCARDED
from worker.verify.chain import LATENESS
from worker.verify.states import ProofState, VerifyFinding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from worker.backfill.listing import ListedKey
    from worker.pipeline.ledger import LedgerEntry
    from worker.verify.chain import LoadedDigest
    from worker.verify.coverage import Coverage
    from worker.verify.evidence import Files, LoadedFiles
    from worker.verify.unit import Unit

_HOUR = timedelta(hours=1)

# Files whose documents are counted in one search.
_FILES_PER_LOOKUP = 1_000


class FileCheck(NamedTuple):
    """What the index holds of one file, VERIFIED or what is wrong with it; and its records."""

    state: ProofState
    detail: str
    records: int


class Examiner(Protocol):
    """Compares the records of a file with their documents."""

    def examine(self, key: str, entries: Sequence[LedgerEntry]) -> FileCheck:
        """Read a file, and ask for each of its documents by id; `entries` say how it was loaded."""

    def is_sampled(self, key: str) -> bool:
        """Return whether a file that the ledger has is examined, too."""


class FileLoader(Protocol):
    """Loads files that are missing."""

    def load(self, files: Sequence[tuple[str, int]]) -> Mapping[str, str]:
        """Load files, given by key and size; returns for each why it is not loaded, "" when it is."""


@dataclass(frozen=True, slots=True)
class Judge:
    """What files are held against. Without `loaded`, only digests and files are compared, and each file is read.

    `trails` are the names of the trails whose digests count, empty for all.
    """

    max_inflated_bytes: int
    loaded: LoadedFiles | None = None
    examiner: Examiner | None = None
    loader: FileLoader | None = None
    trails: frozenset[str] = frozenset()

    @property
    def judges_unnamed(self) -> bool:
        """Whether a file that no digest names says something: the digests of other trails may name it."""
        return not self.trails


@dataclass(slots=True)
class JoinOutcome:
    """What was found of the files: `files` are the signed ones, `events` the records of those that are in order.

    `filtered` are those of these records that filters left out.
    """

    findings: list[VerifyFinding] = field(default_factory=list)
    files: int = 0
    events: int = 0
    filtered: int = 0


@dataclass(slots=True)
class _File:
    """One file as the three sources know it; `hashes` are what digests name, `size` is None where it is not listed."""

    delivered_at: datetime
    hashes: set[str] = field(default_factory=set)
    kind: str = ""
    size: int | None = None
    entries: list[LedgerEntry] = field(default_factory=list)

    @property
    def done(self) -> LedgerEntry | None:
        """The ledger's entry of the signed content, None where there is none."""
        return next(iter(self.loads), None)

    @property
    def loads(self) -> list[LedgerEntry]:
        """The ledger's entries of the signed content, one for each set of selectors by which it was loaded."""
        return [entry for entry in self.entries if entry.sha256 in self.hashes and not entry.reason]

    @property
    def filtered(self) -> int:
        """How many records are not in the index because filters left them out: each load adds what it took."""
        return min((entry.filtered for entry in self.loads), default=0)


class FileJoin:
    """The files of one unit."""

    def __init__(self, unit: Unit, files: Files, judge: Judge, coverage: Coverage) -> None:
        self._unit, self._source, self._judge, self._coverage = unit, files, judge, coverage
        self._files: dict[str, _File] = {}
        self._unproven: set[str] = set()  # named by a digest that proves nothing

    def add_signed(self, loaded: LoadedDigest) -> None:
        """Add the files that a digest names."""
        for signed in loaded.digest.log_files if loaded.digest else ():
            time = delivered_at(signed.s3_object)
            if time is None or not self._unit.since <= time < self._unit.until:
                continue
            if self._source.name and signed.s3_bucket != self._source.name:
                continue
            if loaded.problem:
                self._unproven.add(signed.s3_object)
                continue
            self._coverage.kinds.add(signed.s3_object.removeprefix(self._unit.account_folder).partition("/")[0])
            self._files.setdefault(signed.s3_object, _File(time)).hashes.add(signed.hash_value)

    def add_listed(self, listed: ListedKey, kind: str, time: datetime) -> None:
        """Add a file of the bucket."""
        file = self._files.setdefault(listed.key, _File(time))
        file.kind, file.size = kind, listed.size

    def judge(self, now: datetime, *, unnamed: bool) -> JoinOutcome:
        """Say of each file what it is; with `unnamed`, also of those that no digest names."""
        outcome, limit = JoinOutcome(), now - LATENESS - _HOUR
        if self._judge.loaded:
            self._add_recorded(self._judge.loaded)
        documents = dict(self._count_documents())
        missing: list[tuple[str, int]] = []
        for key in sorted(self._files):
            file = self._files[key]
            if not file.hashes:
                outcome.findings += self._judge_unnamed(key, file, limit) if unnamed else ()
                continue
            outcome.files += 1
            finding, events = self._judge_signed(key, file, documents.get(key, 0))
            if (
                finding.state in (ProofState.MISSING, ProofState.INCOMPLETE)
                and self._judge.loader
                and file.size is not None
            ):
                missing.append((key, file.size))
                continue
            outcome.events += events
            outcome.filtered += file.filtered if finding.state is ProofState.VERIFIED else 0
            outcome.findings.append(finding)
        self._load(missing, outcome)
        return outcome

    # What the ledger and the index say

    def _add_recorded(self, loaded: LoadedFiles) -> None:
        start = f"s3://{self._source.name}/"
        for entry in loaded.recorded(self._unit.account, self._unit.region, self._unit.since, self._unit.until):
            if entry.object.startswith(start + self._unit.account_folder):
                key, time = entry.object.removeprefix(start), datetime.fromisoformat(entry.delivered_at)
                file = self._files.setdefault(key, _File(time))
                file.entries.append(entry)
                file.kind = file.kind or entry.kind

    def _count_documents(self) -> Iterator[tuple[str, int]]:
        if self._judge.loaded is None:
            return
        keys = [key for key, file in self._files.items() if file.hashes]
        for first in range(0, len(keys), _FILES_PER_LOOKUP):
            yield from self._judge.loaded.documents(keys[first : first + _FILES_PER_LOOKUP]).items()

    def _judge_unnamed(self, key: str, file: _File, limit: datetime) -> Iterator[VerifyFinding]:
        if file.size is None:
            if any(not entry.reason for entry in file.entries):
                yield VerifyFinding(ProofState.DELETED, self._uri(key), "no digest names it")
            return
        if key in self._unproven:
            yield VerifyFinding(ProofState.UNSIGNED, self._uri(key), "only a digest that is not valid names it")
            return
        state = self._coverage.judge_unnamed(file.kind, file.delivered_at, limit)
        yield VerifyFinding(state, self._uri(key))

    def _judge_signed(self, key: str, file: _File, documents: int) -> tuple[VerifyFinding, int]:
        """Return what a file is that a digest names, and its events where it is in order."""
        uri = self._uri(key)
        if file.size is None and not self._source.exists(key):
            is_in_index = bool(file.done or documents)
            return VerifyFinding(ProofState.DELETED if is_in_index else ProofState.LOST, uri), 0
        if self._judge.loaded is None:
            return self._judge_content(key, file)
        if file.done is None:
            return self._judge_unrecorded(key, file)
        return self._judge_recorded(key, file, file.done, documents)

    def _judge_recorded(self, key: str, file: _File, entry: LedgerEntry, documents: int) -> tuple[VerifyFinding, int]:
        """Judge a signed file that is in the ledger: by its size in S3, and by the number of its documents."""
        uri = self._uri(key)
        if file.size is not None and entry.stored_bytes not in (0, file.size):
            finding, _ = self._judge_content(key, file)
            if finding.state is not ProofState.VERIFIED:
                return finding, 0
        if self._judge.examiner and entry.read and self._judge.examiner.is_sampled(key):
            return self._examine(key, file)
        created, read = (sum(getattr(one, name) for one in file.entries) for name in ("created", "read"))
        if documents < created:
            # A document that was written just now cannot be searched yet, so each is asked for by its id.
            return self._examine(key, file)
        if documents > read:
            return VerifyFinding(ProofState.ALTERED_IN_INDEX, uri, f"{documents} documents, but {read} records"), 0
        return VerifyFinding(ProofState.VERIFIED, uri), entry.read

    def _judge_content(self, key: str, file: _File) -> tuple[VerifyFinding, int]:
        return judge_content(self._source, key, self._uri(key), file.hashes, self._judge.max_inflated_bytes)

    def _judge_unrecorded(self, key: str, file: _File) -> tuple[VerifyFinding, int]:
        """Judge a signed file without an entry: it was loaded before there was a ledger, or not at all."""
        uri = self._uri(key)
        (digest,) = sorted(file.hashes)[:1]
        if self._judge.loaded and (entry := self._judge.loaded.find(uri, digest, file.delivered_at)):
            return VerifyFinding(ProofState.VERIFIED, uri), entry.read
        finding, _ = self._judge_content(key, file)
        if finding.state is not ProofState.VERIFIED:
            return finding, 0
        if file.entries:
            reasons = ", ".join(sorted({entry.reason for entry in file.entries if entry.reason} - {DISCARDED}))
            if any(entry.is_discarded for entry in file.entries):
                return VerifyFinding(ProofState.DISCARDED, uri, reasons), 0
            return VerifyFinding(ProofState.DEAD_LETTER, uri, reasons or "loaded with other content"), 0
        return self._examine(key, file)

    def _examine(self, key: str, file: _File) -> tuple[VerifyFinding, int]:
        """Compare a file's records with their documents."""
        finding, _ = self._judge_content(key, file)
        if finding.state is not ProofState.VERIFIED or self._judge.examiner is None:
            return finding, 0
        check = self._judge.examiner.examine(key, file.loads)
        return VerifyFinding(check.state, self._uri(key), check.detail), check.records

    def _load(self, missing: Sequence[tuple[str, int]], outcome: JoinOutcome) -> None:
        if not missing or self._judge.loader is None or self._judge.loaded is None:
            return
        problems = self._judge.loader.load(missing)
        for key, _ in missing:
            uri, file = self._uri(key), self._files[key]
            (digest,) = sorted(file.hashes)[:1]
            entry = None if problems[key] else self._judge.loaded.find(uri, digest, file.delivered_at)
            if entry:
                outcome.events += entry.read
                outcome.filtered += entry.filtered
                outcome.findings.append(VerifyFinding(ProofState.VERIFIED, uri))
            else:
                outcome.findings.append(
                    VerifyFinding(ProofState.MISSING, uri, problems[key] or "loaded with other content")
                )

    def _uri(self, key: str) -> str:
        return f"s3://{self._source.name}/{key}" if self._source.name else key


def judge_content(files: Files, key: str, uri: str, hashes: set[str], limit: int) -> tuple[VerifyFinding, int]:
    """Read a file, and compare its hash with those that digests name; returns the number of its records, too."""
    try:
        text = inflate(files.fetch(key, limit).content, limit)
    except UnreadableObject as error:
        is_unread = error.reason in (Reason.NOT_FOUND, Reason.ARCHIVED)
        return VerifyFinding(ProofState.NOT_JUDGED if is_unread else ProofState.ALTERED, uri, str(error)), 0
    if text.truncated or text.sha256 not in hashes:
        return VerifyFinding(ProofState.ALTERED, uri, "its hash is not the one that CloudTrail signed"), 0
    try:
        return VerifyFinding(ProofState.VERIFIED, uri), len(split_records(text).records)
    except (NoEvents, UnreadableObject):  # signed as it is
        return VerifyFinding(ProofState.VERIFIED, uri), 0
