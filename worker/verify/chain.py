"""Checks a chain of digests: each one's place and signature, and whether it follows from the one before."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from worker.verify.digests import Chain, Digest, DigestKey  # noqa: TC001
from worker.verify.signatures import is_signed
from worker.verify.states import ProofState, VerifyFinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.verify.keys import KeyRing

_HOUR = timedelta(hours=1)

# A digest may come late, and out of order: what is missing for a shorter time is not missing yet.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
LATENESS = timedelta(hours=2)


class LoadedDigest(msgspec.Struct, frozen=True):
    """A digest that was read. `problem` says why it proves nothing, "" when it does."""

    key: DigestKey
    digest: Digest | None
    sha256: str
    problem: str = ""
    signature: str = ""

    @property
    def started_at(self) -> datetime:
        """The start of its interval; an hour before its end where it does not say."""
        return self.digest.started_at if self.digest else self.key.ended_at - _HOUR


class ChainEnd(msgspec.Struct, frozen=True):
    """The last digest of a chain so far: what the next one has to follow from."""

    chain: Chain
    key: str
    ended_at: datetime
    sha256: str
    is_valid: bool


class Gap(msgspec.Struct, frozen=True):
    """Hours without a digest: `off` when validation was off, else `number` digests are missing."""

    started_at: datetime
    ended_at: datetime
    number: int
    off: bool


def place_problem(digest: Digest, key: DigestKey, bucket: str) -> str:
    """Return why a digest is not in its own place, "" when it is; a bucket of "" is not known."""
    if digest.digest_s3_object != key.key or digest.ended_at != key.ended_at:
        return f"belongs to {digest.digest_s3_object}"
    if bucket and digest.digest_s3_bucket != bucket:
        return f"belongs to the bucket {digest.digest_s3_bucket}"
    return ""


def check_signatures(
    digests: Sequence[LoadedDigest], keys: KeyRing, read_signature: Callable[[str], str]
) -> Iterator[LoadedDigest]:
    """Yield the digests of a chain, in order, with the problems that their signatures show.

    The next digest holds a digest's signature, so its metadata is read only where that is no proof: of the last one,
    and where something was changed. Raises KeysUnavailable and StoreUnavailable.
    """
    for place, loaded in enumerate(digests):
        following = digests[place + 1].digest if place + 1 < len(digests) else None
        if loaded.digest is None or loaded.problem:
            yield loaded
            continue
        signature = ""
        if following and following.previous_digest_s3_object == loaded.key.key:
            signature = following.previous_digest_signature or ""
        yield _check_signature(loaded, loaded.digest, signature, keys, read_signature)


def _check_signature(
    loaded: LoadedDigest, digest: Digest, signature: str, keys: KeyRing, read_signature: Callable[[str], str]
) -> LoadedDigest:
    key, problem = keys.find(loaded.key.chain.region, digest.digest_public_key_fingerprint, loaded.key.ended_at)
    if key is None:
        return msgspec.structs.replace(loaded, problem=problem)
    text = digest.text_to_sign(loaded.sha256)
    if signature and is_signed(key, signature, text):
        return msgspec.structs.replace(loaded, signature=signature)
    signature = read_signature(loaded.key.key)
    if not signature:
        return msgspec.structs.replace(loaded, problem="has no signature in its metadata")
    if not is_signed(key, signature, text):
        return msgspec.structs.replace(loaded, problem="its signature is not CloudTrail's")
    return msgspec.structs.replace(loaded, signature=signature)


def end_of(loaded: LoadedDigest) -> ChainEnd:
    """Return what the digest after this one has to follow from."""
    return ChainEnd(loaded.key.chain, loaded.key.key, loaded.key.ended_at, loaded.sha256, not loaded.problem)


def gap_between(before: ChainEnd, after: LoadedDigest) -> Gap | None:
    """Return the hours between two digests that follow each other in the bucket, None for none."""
    hours = round((after.started_at - before.ended_at) / _HOUR)
    if hours <= 0:
        return None
    off = bool(after.digest and after.digest.starts_chain and not after.problem)
    return Gap(before.ended_at, after.started_at, hours, off)


def is_broken(before: ChainEnd, after: LoadedDigest) -> bool:
    """Return whether a digest does not follow from the one before, although no hour is missing between them."""
    digest = after.digest
    if digest is None or after.problem or not before.is_valid or digest.starts_chain:
        return False
    return digest.previous_digest_s3_object != before.key or digest.previous_digest_hash_value != before.sha256


def link_findings(before: ChainEnd, after: LoadedDigest, gap: Gap | None) -> Iterator[VerifyFinding]:
    """Yield what is wrong between two digests."""
    if after.key.chain.backfill:
        return  # backfill digests come when they are needed
    if gap:
        yield gap_finding(after.key.chain, gap)
    elif is_broken(before, after):
        yield VerifyFinding(ProofState.DIGEST_ALTERED, after.key.key, "does not follow from the digest before it")


def gap_finding(chain: Chain, gap: Gap) -> VerifyFinding:
    """Return the finding for hours without a digest."""
    hours = f"{gap.started_at:%Y-%m-%d %H:%M} to {gap.ended_at:%Y-%m-%d %H:%M} UTC"
    if gap.off:
        return VerifyFinding(ProofState.VALIDATION_OFF, str(chain), hours, gap.number)
    return VerifyFinding(ProofState.DIGEST_MISSING, str(chain), hours, gap.number)


def missing_tail(ended_at: datetime, until: datetime, now: datetime) -> int:
    """Return how many digests are missing after the last one: nobody else notices when the newest are deleted."""
    limit = min(until + _HOUR, now - LATENESS)
    return max(0, (limit - ended_at) // _HOUR)
