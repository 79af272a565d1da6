"""Runs a verification: units in parallel, committed in order, so that a killed run resumes with the same report."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from worker.backfill.key_ranges import account_folders
from worker.backfill.selection import is_selected
from worker.cloudtrail.keys import KINDS
from worker.errors import StoreUnavailable
from worker.verify.chain import Gap, gap_between, gap_finding, link_findings, missing_tail
from worker.verify.digests import KIND
from worker.verify.keys import KeysUnavailable
from worker.verify.states import ProofState, VerifyFinding, VerifyTotals
from worker.verify.unit import ChainPart, ChainTail, Unit, UnitResult, judge_unit

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator, Sequence
    from concurrent.futures import Future

    from worker.backfill.listing import Lister
    from worker.backfill.selection import Selection
    from worker.verify.evidence import Files
    from worker.verify.join import Judge
    from worker.verify.keys import KeyRing
    from worker.verify.report import ChainedReport

# A unit holds a week of digests and of log files in memory.
_WEEK = timedelta(days=7)

# Units in progress, for each thread: the results of those that end early wait for the earlier ones.
_AHEAD = 2


class Progress(msgspec.Struct, kw_only=True):
    """How far a run has come: all units up to `cursor` are committed. `ends` are the chains of the last stream."""

    cursor: tuple[str, str, str, str] = ("", "", "", "")
    stream: str = ""
    ends: list[ChainTail] = []
    totals: VerifyTotals = msgspec.field(default_factory=VerifyTotals)
    report_bytes: int = 0
    report_hash: str = ""


class Plan:
    """The units of a bucket, in order: accounts, their regions, and weeks of each."""

    def __init__(self, lister: Lister, selection: Selection, trees: Sequence[str]) -> None:
        self._lister, self._selection, self._trees = lister, selection, trees

    def units(self, cursor: tuple[str, str, str, str]) -> Iterator[tuple[Unit, list[str]]]:
        """Yield the units after a cursor, each with the kinds of log files that its account has."""
        for tree in sorted(self._trees):
            for account in account_folders(self._selection, tree, "", self._lister.folders):
                names = [_name(folder) for folder in self._lister.folders(f"{account}CloudTrail")]
                kinds = [name for name in names if name in KINDS]
                for region in self._regions(account, [*kinds, *(name for name in names if name == KIND)]):
                    for since, until in self._windows([f"{account}{kind}/{region}/" for kind in (*kinds, KIND)]):
                        is_last = until == self._selection.until
                        unit = Unit(tree, account, region, since, until, is_last=is_last)
                        if unit_cursor(unit) > cursor:
                            yield unit, kinds

    def _regions(self, account: str, kinds: Sequence[str]) -> list[str]:
        names = {_name(folder) for kind in kinds for folder in self._lister.folders(f"{account}{kind}/")}
        return sorted(name for name in names if is_selected(name, self._selection.regions))

    def _windows(self, folders: Sequence[str]) -> Iterator[tuple[datetime, datetime]]:
        until = self._selection.until
        start = self._selection.since or min(filter(None, map(self._first_day, folders)), default=until)
        while start < until:
            end = min(start + _WEEK, until)
            yield start, end
            start = end

    def _first_day(self, folder: str) -> datetime | None:
        """Return the first day of a region's folder, None where it holds no file."""
        for listed in self._lister.page(folder, "").keys[:1]:
            with suppress(ValueError):
                day = "/".join(listed.key.removeprefix(folder).split("/")[:3])
                return datetime.strptime(day, "%Y/%m/%d").replace(tzinfo=UTC)
        return None


def unit_cursor(unit: Unit) -> tuple[str, str, str, str]:
    """Return the place of a unit in the order of all units."""
    return unit.tree, unit.account_folder, unit.region, unit.since.isoformat()


def _name(folder: str) -> str:
    return folder[:-1].rpartition("/")[2]


class Verification:
    """One run over the units of a plan."""

    def __init__(  # noqa: PLR0913 - the parts, and what bounds them
        self,
        files: Files,
        keys: KeyRing,
        judge: Judge,
        selection: Selection,
        *,
        now: datetime,
        progress: Progress,
        report: ChainedReport,
        stop: threading.Event,
    ) -> None:
        self._files, self._keys, self._judge, self._selection, self._now = files, keys, judge, selection, now
        self.progress, self._report, self._stop = progress, report, stop

    @property
    def totals(self) -> VerifyTotals:
        """What was counted so far."""
        return self.progress.totals

    def run(self, trees: Sequence[str], workers: int) -> Generator[Unit, None, None]:
        """Judge all units, or those before a stop; yields each when it is committed."""
        plan = Plan(self._files.lister, self._selection, trees).units(self.progress.cursor)
        pending: deque[tuple[Unit, Future[UnitResult]]] = deque()
        with ThreadPoolExecutor(workers, "verify") as pool:
            try:
                for unit, kinds in plan:
                    if self._stop.is_set():
                        break
                    pending.append((unit, pool.submit(self._judge_unit, unit, kinds)))
                    if len(pending) >= _AHEAD * workers:
                        yield self._commit(*pending.popleft())
                while pending:
                    yield self._commit(*pending.popleft())
            finally:
                for _, future in pending:
                    future.cancel()
        if not self._stop.is_set():
            self._end_stream()

    def _judge_unit(self, unit: Unit, kinds: Sequence[str]) -> UnitResult:
        try:
            return judge_unit(unit, self._files, self._keys, self._judge, kinds=kinds, now=self._now)
        except (StoreUnavailable, KeysUnavailable) as error:
            subject = f"{unit.account} {unit.region}"
            return UnitResult(findings=[VerifyFinding(ProofState.NOT_JUDGED, subject, str(error))])

    def _commit(self, unit: Unit, future: Future[UnitResult]) -> Unit:
        """Count a unit, link its chains with those of the unit before, and write its lines."""
        result, progress = future.result(), self.progress
        if progress.stream != unit.stream:
            self._end_stream()
            progress.stream = unit.stream
        findings = [finding for part in result.parts for finding in self._link(unit, part)]
        findings += result.findings
        totals = progress.totals
        for finding in findings:
            totals.add(finding)
        totals.files += result.files
        totals.events += result.events
        totals.filtered += result.filtered
        totals.digests += len(result.digests)
        valid = [line for line in result.digests if line.signature]
        signatures = [line.signature for line in valid]
        totals.fingerprints = sorted({*totals.fingerprints, *(line.fingerprint for line in valid)})
        if signatures:
            totals.first_signature = totals.first_signature or signatures[0]
            totals.last_signature = signatures[-1]
        self._report.append(
            [
                *(msgspec.to_builtins(line) for line in result.digests),
                *(msgspec.to_builtins(finding) for finding in findings if finding.state is not ProofState.VERIFIED),
                _unit_line(unit, result),
            ]
        )
        progress.cursor = unit_cursor(unit)
        progress.report_bytes, progress.report_hash = self._report.size, self._report.last_hash
        return unit

    def _link(self, unit: Unit, part: ChainPart) -> Iterator[VerifyFinding]:
        """Yield what is wrong between a chain's last digest before this unit and its first in it."""
        chain = part.first.key.chain
        before = next((end for end in self.progress.ends if end.last.chain == chain), None)
        if before is not None:
            yield from link_findings(before.last, part.first, gap_between(before.last, part.first))
            self.progress.ends.remove(before)
        elif not chain.backfill:
            yield from self._check_start(unit, part)
        self.progress.ends.append(part.tail)

    def _check_start(self, unit: Unit, part: ChainPart) -> Iterator[VerifyFinding]:
        """Yield whether digests are missing before a chain's first one."""
        digest, chain = part.first.digest, part.first.key.chain
        if digest is None or part.first.problem or digest.starts_chain:
            return
        if self._selection.since is None:
            if self._files.name and digest.previous_digest_s3_bucket != self._files.name:
                return  # the chain began in another bucket, which is to be verified there
            yield VerifyFinding(
                ProofState.DIGEST_MISSING, str(chain), f"those before {part.first.key.key}, at least one"
            )
            return
        hours = round((part.first.started_at - unit.since) / timedelta(hours=1))
        if hours > 0:
            yield gap_finding(chain, Gap(unit.since, part.first.started_at, hours, off=False))

    def _end_stream(self) -> None:
        """Check the tails of the chains of the stream that is done."""
        totals, findings = self.progress.totals, list[VerifyFinding]()
        for end in self.progress.ends:
            if end.last.chain.backfill:
                continue
            totals.chains += 1
            until = f"{end.covered_until:%Y-%m-%d %H:%M}"
            totals.signed_until = min(totals.signed_until, until) if totals.signed_until else until
            if number := missing_tail(end.covered_until, self._selection.until, self._now):
                detail = f"the newest, after {until} UTC"
                findings.append(VerifyFinding(ProofState.DIGEST_MISSING, str(end.last.chain), detail, number))
        for finding in findings:
            totals.add(finding)
        self._report.append(msgspec.to_builtins(finding) for finding in findings)
        self.progress.ends = []
        self.progress.report_bytes, self.progress.report_hash = self._report.size, self._report.last_hash


def _unit_line(unit: Unit, result: UnitResult) -> dict[str, object]:
    return {
        "account": unit.account,
        "region": unit.region,
        "since": unit.since.isoformat(),
        "until": unit.until.isoformat(),
        "files": result.files,
        "events": result.events,
    }
