"""Promises about a verification: what the real aws-cli finds is found, and what it does not notice is, too.

The mutations are those with which aws-cli 1.46.3 was tried; for some of them it exits with 0.
"""

from __future__ import annotations

import gzip
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.factories import packed
from tests.support.signed_trail import BUCKET, HOUR, START, MemoryFiles, SignedTrail, private_key, public_key, verify
from worker.backfill.selection import Selection
from worker.verify.join import Judge
from worker.verify.keys import KeyRing
from worker.verify.report import ChainedReport, check_report
from worker.verify.run import Progress, Verification
from worker.verify.states import ProofState
from worker.verify.verdict import exit_code, verdict_line

if TYPE_CHECKING:
    from pathlib import Path

    from worker.verify.states import VerifyTotals


@pytest.fixture
def trail() -> SignedTrail:
    """Eight hours across midnight, the third without files: 14 log files."""
    made = SignedTrail()
    for number in range(8):
        made.hour(0 if number == 2 else 2, start=number == 0)
    return made


def faults(totals: VerifyTotals) -> dict[str, int]:
    return {state.value: totals.states[state] for state in totals.faults}


def test_a_trail_that_nobody_touched_is_complete(trail: SignedTrail) -> None:
    """The verdict names what was proven, and until when."""
    totals = verify(trail)

    assert verdict_line(totals) == "complete: 14 files, 28 events, 1 chain, signed until 2026-11-23 06:49 UTC"
    assert exit_code(totals) == 0
    assert (totals.digests, totals.fingerprints) == (8, [public_key().fingerprint])
    assert totals.first_signature == trail.signatures[trail.digests[0]]
    assert totals.last_signature == trail.signatures[trail.digests[-1]]


def test_both_encodings_of_a_key_are_known(trail: SignedTrail) -> None:
    """AWS has published PKCS#1 and SubjectPublicKeyInfo."""
    other = SignedTrail(account="222222222222", key=1, spki=True).hours(8)

    totals = verify(trail, other)

    assert (totals.chains, faults(totals)) == (2, {})
    assert totals.fingerprints == sorted([public_key().fingerprint, public_key(1, spki=True).fingerprint])


def test_the_newest_digests_and_their_files_were_deleted(trail: SignedTrail) -> None:
    """aws-cli exits with 0."""
    now = trail.now
    trail.delete(*trail.digests[-2:], *trail.logs[-4:])

    totals = verify(trail, now=now)

    assert faults(totals) == {"digest_missing": 2}
    assert exit_code(totals) == 1


def test_everything_was_deleted(trail: SignedTrail) -> None:
    """aws-cli exits with 0; where nothing is left, nothing can be judged."""
    now = trail.now
    trail.delete(*trail.digests, *trail.logs)

    totals = verify(trail, now=now)

    assert verdict_line(totals) == "not judged: no digest was found"
    assert exit_code(totals) == 3


def test_all_digests_were_deleted_and_the_files_were_not(trail: SignedTrail) -> None:
    """aws-cli exits with 0, and says that there are no digests."""
    now = trail.now
    trail.delete(*trail.digests)

    totals = verify(trail, now=now)

    assert faults(totals) == {"unsigned": 14}
    assert exit_code(totals) == 1


def test_a_file_was_planted(trail: SignedTrail) -> None:
    """aws-cli exits with 0, and does not mention it."""
    planted = trail.log(START + timedelta(hours=1, minutes=7), name="planted")

    totals = verify(trail)

    assert faults(totals) == {"planted": 1}
    assert totals.examples["planted"] == [f"s3://{BUCKET}/{planted}"]
    assert verdict_line(totals).startswith("complete: 14 files")
    assert verdict_line(totals).endswith(f"; but 1 planted file: s3://{BUCKET}/{planted}")
    assert exit_code(totals) == 1


def test_a_planted_file_does_not_hide_behind_a_name_of_another_form(trail: SignedTrail) -> None:
    """Whatever lies in a day's folder would be loaded."""
    trail.hours(8)
    folder = trail.logs[-1].rpartition("/")[0]
    trail.objects[f"{folder}/notes.json.gz"] = gzip.compress(b'{"Records":[]}')

    assert faults(verify(trail)) == {"planted": 1}


def test_validation_was_off_for_two_hours(trail: SignedTrail) -> None:
    """aws-cli exits with 0, and says that no files were delivered."""
    trail.pause(2)
    unsigned = trail.log(trail.ended_at - HOUR)
    trail.hour(start=True)

    totals = verify(trail)

    assert faults(totals) == {"validation_off": 2, "unsigned": 1}
    assert totals.examples["unsigned"] == [f"s3://{BUCKET}/{unsigned}"]
    assert totals.hours_unsigned == 2


def test_the_oldest_digests_were_deleted(trail: SignedTrail) -> None:
    """aws-cli finds one; with the time that was asked for, all are counted."""
    trail.delete(*trail.digests[:4], *trail.logs[:6])

    assert faults(verify(trail)) == {"digest_missing": 1}
    assert faults(verify(trail, since=START)) == {"digest_missing": 4}


def test_two_digests_in_a_row_were_deleted(trail: SignedTrail) -> None:
    """aws-cli finds one; github.com/aws/aws-cli/issues/7054."""
    trail.delete(*trail.digests[3:5])

    totals = verify(trail)

    assert faults(totals) == {"digest_missing": 2, "unsigned": 4}


def test_a_log_file_was_replaced(trail: SignedTrail) -> None:
    """Its hash is not the one that was signed."""
    trail.objects[trail.logs[5]] = trail.objects[trail.logs[4]]

    assert faults(verify(trail)) == {"altered": 1}


@pytest.mark.parametrize("rest", [packed(b""), packed(b'{"Records":[]}'), b"\0"])
def test_something_was_appended_to_a_log_file(trail: SignedTrail, rest: bytes) -> None:
    """The first member is still the one that was signed."""
    trail.objects[trail.logs[5]] += rest

    assert faults(verify(trail)) == {"altered": 1}


def test_a_log_file_was_deleted(trail: SignedTrail) -> None:
    """Without an index, it is lost."""
    trail.delete(trail.logs[5])

    totals = verify(trail)

    assert faults(totals) == {"lost": 1}
    assert verdict_line(totals).startswith("not complete: 1 file is lost")


def test_a_digest_without_metadata_is_proven_by_the_next_one(trail: SignedTrail) -> None:
    """Copies lose it. aws-cli calls the digest invalid, and leaves its files unchecked."""
    trail.signatures.pop(trail.digests[3])

    assert exit_code(verify(trail)) == 0


def test_the_last_digest_without_metadata_proves_nothing(trail: SignedTrail) -> None:
    """No other holds its signature."""
    trail.signatures.pop(trail.digests[-1])

    totals = verify(trail)

    assert faults(totals) == {"digest_altered": 1, "unsigned": 2}
    assert totals.examples["digest_altered"] == [f"{trail.digests[-1]}: has no signature in its metadata"]


@pytest.mark.parametrize("place", [3, 7])
def test_each_changed_byte_of_a_digest_is_noticed(trail: SignedTrail, place: int) -> None:
    """In the middle of the chain, and at its end."""
    key = trail.digests[place]
    text = gzip.decompress(trail.objects[key])
    for position in range(0, len(text), 97):
        changed = text[:position] + bytes([text[position] ^ 1]) + text[position + 1 :]
        trail.objects[key] = gzip.compress(changed)

        totals = verify(trail, workers=1)

        assert totals.states[ProofState.DIGEST_ALTERED] >= 1, position


def test_two_digests_were_swapped(trail: SignedTrail) -> None:
    """Each says where it belongs."""
    first, second = trail.digests[3:5]
    trail.objects[first], trail.objects[second] = trail.objects[second], trail.objects[first]

    assert verify(trail).states[ProofState.DIGEST_ALTERED] == 2


def test_a_digest_of_another_region_s_key_proves_nothing(trail: SignedTrail) -> None:
    """Keys are a region's own."""
    totals = verify(trail, keys=KeyRing([public_key(region="us-east-1")]))

    assert totals.states[ProofState.DIGEST_ALTERED] == 8
    assert "no public key of eu-central-1 has the fingerprint" in totals.examples["digest_altered"][0]


def test_a_key_signs_only_while_it_is_valid(trail: SignedTrail) -> None:
    """A stolen old key must not sign new digests."""
    old = public_key(validity_end_time=START - timedelta(days=2))

    totals = verify(trail, keys=KeyRing([old]))

    assert "was not valid at that time" in totals.examples["digest_altered"][0]


def test_a_digest_that_somebody_else_signed_is_not_cloudtrail_s(trail: SignedTrail) -> None:
    """With the right fingerprint, and another key."""
    forged = public_key(value=public_key(1).value)
    assert private_key(0) is not private_key(1)

    totals = verify(trail, keys=KeyRing([forged]))

    assert totals.states[ProofState.DIGEST_ALTERED] == 8


def test_an_organisation_s_layout_and_a_prefix() -> None:
    """One chain for each member account and region."""
    trails = [
        SignedTrail(account=account, region=region, org="o-a1b2c3d4e5", prefix="security/")
        for account in ("111111111111", "222222222222")
        for region in ("eu-central-1", "eu-west-1")
    ]
    for made in trails:
        made.hour(start=True)
        made.hours(3)
    keys = KeyRing([public_key(region="eu-central-1"), public_key(region="eu-west-1")])

    totals = verify(*trails, keys=keys)

    assert verdict_line(totals) == "complete: 32 files, 64 events, 4 chains, signed until 2026-11-23 02:49 UTC"


def test_two_trails_in_one_bucket_sign_their_own_files() -> None:
    """What one of them does not name is not planted when the other one names it."""
    first, second = SignedTrail(trail="one"), SignedTrail(trail="two_too")
    for made in (first, second):
        made.hour(start=True)
        made.hours(2)
    second.objects = {key.replace("_file", "_other"): content for key, content in second.objects.items()}
    second = SignedTrail(trail="two_too", _number=500)
    second.hour(start=True)
    second.hours(2)

    totals = verify(first, second)

    assert (totals.chains, totals.files, faults(totals)) == (2, 12, {})


def test_a_chain_that_began_in_another_bucket_is_complete_in_this_one() -> None:
    """The trail was given a new bucket; its old files are verified where they are."""
    made = SignedTrail(bucket="old-bucket").hours(3)
    made.objects, made.signatures, made.digests, made.logs = {}, {}, [], []
    made.bucket = BUCKET
    made.hours(3)

    totals = verify(made)

    assert (totals.files, faults(totals)) == (6, {})


def test_a_backfill_digest_names_files_that_came_late(trail: SignedTrail) -> None:
    """It has a chain of its own, without hours."""
    late = trail.log(START + timedelta(hours=2, minutes=30))
    assert faults(verify(trail)) == {"planted": 1}

    trail.digest(START + 2 * HOUR, START + 3 * HOUR, [late], start=False, backfill=True)

    totals = verify(trail)
    assert (totals.files, totals.chains, faults(totals)) == (15, 1, {})


def test_kinds_that_no_digest_names_are_counted_and_accused_of_nothing(trail: SignedTrail) -> None:
    """AWS does not say whether digests cover Insights files."""
    trail.log(START + timedelta(hours=1), kind="CloudTrail-Insight")

    totals = verify(trail)

    assert exit_code(totals) == 0
    assert totals.states[ProofState.UNNAMED] == 1


def test_the_newest_files_are_not_covered_yet(trail: SignedTrail) -> None:
    """Their digest comes within the next two hours."""
    trail.log(trail.ended_at + timedelta(minutes=20))

    totals = verify(trail)

    assert exit_code(totals) == 0
    assert totals.states[ProofState.NOT_COVERED] == 1


def test_weeks_are_linked_with_each_other() -> None:
    """A unit is a week: what is between two of them must not get lost."""
    made = SignedTrail()
    made.hour(start=True)
    made.hours(24 * 9, logs=0)
    whole = verify(made)
    made.delete(*made.digests[150:180])

    broken = verify(made)

    assert (whole.digests, faults(whole)) == (217, {})
    assert (broken.digests, faults(broken)) == (187, {"digest_missing": 30})


def test_a_killed_run_resumes_with_the_same_report(tmp_path: Path) -> None:
    """Byte for byte: an auditor compares reports by their hash."""
    trails = [SignedTrail(account=f"{number:012d}") for number in range(6)]
    for made in trails:
        made.hour(start=True)
        made.hours(2)
    trails[3].delete(trails[3].logs[2])
    whole = tmp_path / "whole.jsonl"
    verify(*trails, report=whole)

    resumed, progress = tmp_path / "resumed.jsonl", Progress(report_hash="0" * 64)

    for _ in range(10):
        run = Verification(
            MemoryFiles(*trails),
            KeyRing([public_key()]),
            Judge(1 << 20),
            Selection(trails[0].now),
            now=trails[0].now,
            progress=progress,
            report=ChainedReport(resumed, progress.report_bytes, progress.report_hash),
            stop=threading.Event(),
        )
        units = run.run(["AWSLogs/"], 2)
        saved = msgspec.json.encode(progress)
        for number, _ in enumerate(units):
            saved = msgspec.json.encode(progress)
            if number:
                break
        else:
            break
        units.close()
        with resumed.open("ab") as file:
            file.write(b"what a killed run wrote last")
        progress = msgspec.json.decode(saved, type=Progress)

    assert resumed.read_bytes() == whole.read_bytes()
    assert check_report(whole) > 20
