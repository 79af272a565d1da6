"""One unit of a verification: an account and region of a bucket, in a bounded time, from its digests to its files."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from worker.backfill.key_ranges import day_folder
from worker.backfill.selection import is_selected
from worker.cloudtrail.keys import parse_key
from worker.errors import UnreadableObject
from worker.verify.chain import (
    ChainEnd,
    LoadedDigest,
    check_signatures,
    end_of,
    gap_between,
    link_findings,
    place_problem,
)
from worker.verify.coverage import Coverage
from worker.verify.digests import KIND, MAX_DIGEST_BYTES, DigestKey, parse_digest, parse_digest_key
from worker.verify.join import FileJoin
from worker.verify.states import ProofState, VerifyFinding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from worker.backfill.listing import ListedKey, Lister
    from worker.verify.digests import Chain
    from worker.verify.evidence import Files
    from worker.verify.join import Judge
    from worker.verify.keys import KeyRing

# A file may be named by a digest that ends up to an hour after its delivery, and comes late.
LOOKAHEAD = timedelta(hours=2)


class Unit(NamedTuple):
    """An account and region, and the time of delivery: from `since` until `until`. `tree` is the folder of accounts."""

    tree: str
    account_folder: str
    region: str
    since: datetime
    until: datetime
    is_last: bool

    @property
    def account(self) -> str:
        """The account."""
        return self.account_folder[:-1].rpartition("/")[2]

    @property
    def stream(self) -> str:
        """The account and region, whatever the time."""
        return f"{self.account_folder}|{self.region}"

    def folder(self, kind: str) -> str:
        """Return the folder of one kind of file."""
        return f"{self.account_folder}{kind}/{self.region}/"


class DigestLine(msgspec.Struct, frozen=True):
    """One digest in the report."""

    digest: str
    sha256: str
    files: int
    fingerprint: str
    signature: str
    problem: str = ""


class ChainTail(msgspec.Struct, frozen=True):
    """A chain's last digest in a unit, and where the chain ends, digests that end after the unit included."""

    last: ChainEnd
    covered_until: datetime


class ChainPart(msgspec.Struct, frozen=True):
    """A chain's first and last digest in a unit, to be linked with the units before and after it."""

    first: LoadedDigest
    tail: ChainTail


class UnitResult(msgspec.Struct):
    """What was found in a unit."""

    digests: list[DigestLine] = msgspec.field(default_factory=list)
    findings: list[VerifyFinding] = msgspec.field(default_factory=list)
    parts: list[ChainPart] = msgspec.field(default_factory=list)
    files: int = 0
    events: int = 0
    filtered: int = 0


def list_keys(lister: Lister, folder: str, since: datetime, until: datetime) -> Iterator[ListedKey]:
    """Yield the keys of a region's folder in the day folders from one day to another, in order."""
    after, before = folder + day_folder(since.date()), folder + day_folder(until.date() + timedelta(days=1))
    while True:
        page = lister.page(folder, after)
        for listed in page.keys:
            if listed.key >= before:
                return
            yield listed
        if not page.truncated:
            return
        after = page.keys[-1].key


def judge_unit(  # noqa: PLR0913 - the unit, and what it is held against
    unit: Unit, files: Files, keys: KeyRing, judge: Judge, *, kinds: Sequence[str], now: datetime
) -> UnitResult:
    """Check the digests of a unit, and say of each file what it is; raises Unavailable where that cannot be judged."""
    result, coverage = UnitResult(), Coverage()
    join = FileJoin(unit, files, judge, coverage)
    for digests in _by_chain(_digest_keys(unit, files, judge.trails)).values():
        loaded = list(check_signatures([_load(key, files) for key in digests], keys, files.signature))
        coverage.add(loaded)
        for digest in loaded:
            join.add_signed(digest)
        _check_chain(unit, loaded, result)
    for kind in kinds:
        _add_listed(unit, files, kind, join)
    outcome = join.judge(now, unnamed=judge.judges_unnamed)
    result.findings += outcome.findings
    result.files, result.events, result.filtered = outcome.files, outcome.events, outcome.filtered
    return result


def _add_listed(unit: Unit, files: Files, kind: str, join: FileJoin) -> None:
    """Add the files of one kind that were delivered in the unit's time."""
    for listed in list_keys(files.lister, unit.folder(kind), unit.since, unit.until):
        if file := parse_key(listed.key, unit.tree):
            delivered = file.delivered_at or datetime.combine(file.day, time(12), UTC)  # no name of CloudTrail's
            if unit.since <= delivered < unit.until:
                join.add_listed(listed, kind, delivered)


def _digest_keys(unit: Unit, files: Files, trails: frozenset[str]) -> Iterator[DigestKey]:
    until = unit.until + LOOKAHEAD
    for listed in list_keys(files.lister, unit.folder(KIND), unit.since, until):
        key = parse_digest_key(listed.key)
        if key and unit.since < key.ended_at <= until and is_selected(key.chain.trail, trails):
            yield key


def _by_chain(keys: Iterator[DigestKey]) -> Mapping[Chain, list[DigestKey]]:
    chains: dict[Chain, list[DigestKey]] = {}
    for key in keys:
        chains.setdefault(key.chain, []).append(key)
    return {chain: sorted(chains[chain], key=lambda key: key.ended_at) for chain in sorted(chains)}


def _load(key: DigestKey, files: Files) -> LoadedDigest:
    try:
        digest, sha256 = parse_digest(files.fetch(key.key, MAX_DIGEST_BYTES).content)
    except ValueError as error:
        return LoadedDigest(key, None, "", str(error))
    except UnreadableObject as error:
        return LoadedDigest(key, None, "", f"cannot be read: {error.reason}")
    return LoadedDigest(key, digest, sha256, place_problem(digest, key, files.name))


def _check_chain(unit: Unit, loaded: Sequence[LoadedDigest], result: UnitResult) -> None:
    """Report the digests that end in this unit, and what is wrong between them; the others belong to the next one."""
    own = [digest for digest in loaded if digest.key.ended_at <= unit.until]
    for digest in own:
        number = len(digest.digest.log_files) if digest.digest else 0
        fingerprint = digest.digest.digest_public_key_fingerprint if digest.digest else ""
        result.digests.append(
            DigestLine(digest.key.key, digest.sha256, number, fingerprint, digest.signature, digest.problem)
        )
        if digest.problem:
            result.findings.append(VerifyFinding(ProofState.DIGEST_ALTERED, digest.key.key, digest.problem))
    for before, after in pairwise(own):
        end = end_of(before)
        result.findings += link_findings(end, after, gap_between(end, after))
    if own:
        # Hours that are missing at the end of a unit are found by the next one; at the end of all, by the tail.
        covered_until = loaded[-1].key.ended_at if unit.is_last else own[-1].key.ended_at
        result.parts.append(ChainPart(own[0], ChainTail(end_of(own[-1]), covered_until)))
