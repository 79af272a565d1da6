"""Promises about a backfill's own account: settled in order, resumed where it was, given up only for a reason."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.factories import event, log_file
from tests.support.fakes import FakePipeline, make_pipeline
from worker.backfill.checkpoint import Checkpoint, CheckpointFile, state_path
from worker.backfill.job import BackfillJob, run_job
from worker.backfill.listing import File
from worker.backfill.loaders import DirectLoader, QueueLoader
from worker.backfill.progress import Finished, LoadOutcome, LoadTally, OrderedProgress, RetryLater
from worker.backfill.report import FailureReport, failed_file, failures
from worker.backfill.retry import LoadTask, RateLimiter, RetryDecision, decide, retry_delay
from worker.backfill.runner import BackfillRun
from worker.errors import Reason, SetupError, StoreUnavailable, UnreadableObject
from worker.opensearch.inventory import IndexedFile
from worker.pipeline.consumer import Consumer
from worker.pipeline.notifications import parse_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from worker.backfill.loaders import InMemoryDeadLetters, Loader

ASKED = {"bucket": "b", "account": ""}


def file(number: int, day: str = "2025-01-31") -> File:
    return File(f"AWSLogs/{number:06d}", 100, "123456789012", day)


def loaded() -> Finished:
    return Finished(LoadOutcome.LOADED, (2, 2, 0, 0, 0))


# The ledger


@given(st.permutations(range(12)), st.integers(0, 12))
def test_the_mark_never_passes_a_file_that_has_not_ended(order: list[int], ends: int) -> None:
    """Files end in any order; what the mark says is done is done, so a resume leaves nothing out."""
    ledger = OrderedProgress(LoadTally())
    numbers = [ledger.enter(file(at)) for at in range(12)]
    done: set[int] = set()

    for at in order[:ends]:
        ledger.end(numbers[at], loaded())
        done.add(at)
        list(ledger.settle())

        settled = next((at for at in range(12) if at not in done), 12)
        assert ledger.mark == (file(settled - 1).key if settled else "")
        assert ledger.tally.files == settled
        assert ledger.open == 12 - settled


# Decisions


@pytest.mark.parametrize(
    ("cause", "attempts", "seconds", "others", "decision"),
    [
        ("429", 1, 5, None, RetryDecision.AGAIN),
        ("429", 50, 599, 500, RetryDecision.AGAIN),
        ("429", 50, 600, 500, RetryDecision.GIVE_UP),
        ("no_connection", 50, 600, None, RetryDecision.STOP),
        ("s3:SlowDown", 4, 60, 50, RetryDecision.AGAIN),
        ("s3:SlowDown", 5, 60, 50, RetryDecision.GIVE_UP),
        ("s3:SlowDown", 5, 60, None, RetryDecision.AGAIN),
        ("s3:AccessDenied", 2, 5, 3, RetryDecision.AGAIN),
        ("s3:AccessDenied", 3, 5, 3, RetryDecision.GIVE_UP),
        ("s3:AccessDenied", 3, 5, None, RetryDecision.STOP),
        ("crash", 5, 60, 50, RetryDecision.GIVE_UP),
    ],
)
def test_a_file_is_given_up_when_others_go_through_and_the_run_stops_when_none_does(
    cause: str, attempts: int, seconds: float, others: float | None, decision: RetryDecision
) -> None:
    """A cluster that is down for an hour must not write a million files down as failed."""
    task = LoadTask(0, file(0), began=1_000.0, attempts=attempts)
    went_through = None if others is None else 1_000.0 + others

    assert decide(task, cause, now=1_000.0 + seconds, went_through=went_through, patience=600) is decision


def test_waits_double_up_to_a_minute() -> None:
    """A neighbour in trouble is asked ever less often, and not forgotten."""
    assert [retry_delay(attempts, 2.0) for attempts in (1, 2, 3, 6, 7, 1_000)] == [2, 4, 8, 60, 60, 60]


@given(st.integers(1, 500), st.lists(st.floats(0.001, 3.0), min_size=1, max_size=60))
def test_no_second_sees_more_than_its_rate_and_one_batch(rate: int, steps: list[float]) -> None:
    """The bound that keeps live files from waiting behind last year's."""
    pace, now, started = RateLimiter(rate, 10), 1_000.0, []
    for step in steps:
        now += step
        number = min(10, pace.most(now))
        pace.spend(number)
        started.append((now, number))

    for begin, _ in started:
        within = sum(number for at, number in started if begin <= at < begin + 1.0)
        assert within <= 2 * rate + 10


# Plans


@dataclass
class _Holdings:
    held: dict[str, IndexedFile]
    asked: list[int] = field(default_factory=list)

    def of(self, keys: Sequence[str]) -> dict[str, IndexedFile]:
        self.asked.append(len(keys))
        return {key: self.held[key] for key in keys if key in self.held}


def job(count: int, holdings: _Holdings | None = None, *, incomplete: bool = False) -> BackfillJob:
    return BackfillJob(
        lambda mark: (one for one in map(file, range(count)) if one.key > mark),
        holdings.of if holdings else None,
        incomplete,
    )


def test_the_plan_is_what_is_then_done() -> None:
    """Whoever says yes to 2,498 files gets 2,498 files, asked for in pages."""
    there = {file(7).key: IndexedFile(incomplete=False), file(2_100).key: IndexedFile(incomplete=True)}
    holdings = _Holdings(there)

    *_, plan = job(2_500, holdings).plan("")
    to_load = [one for one, ended in job(2_500, holdings).source("") if ended is None]

    assert (plan.files, plan.present, plan.incomplete, plan.bytes) == (2_498, 2, 1, 249_800)
    assert {one.key for one in map(file, range(2_500))} - {one.key for one in to_load} == set(there)
    assert holdings.asked[:3] == [1_000, 1_000, 500]


def test_incomplete_files_are_loaded_when_they_are_asked_for() -> None:
    """A hole in a file's positions is a record that is somewhere else, or nowhere."""
    holdings = _Holdings({file(0).key: IndexedFile(incomplete=True), file(1).key: IndexedFile(incomplete=False)})

    to_load = [one.key for one, ended in job(2, holdings, incomplete=True).source("") if ended is None]

    assert to_load == [file(0).key]


# Runs


@dataclass
class MemoryWay:
    """Loads what it is given; `refuse` says why a file cannot be loaded now, by file and attempt."""

    refuse: Callable[[File, int], str] = lambda _file, _attempt: ""
    batch: int = 5
    attempts: Counter[str] = field(default_factory=Counter)
    most_together: int = 0
    on_load: Callable[[], None] = lambda: None

    def most(self) -> int:
        return self.batch

    def started(self, number: int) -> None:
        assert number <= self.batch

    def load(self, files: Sequence[File]) -> list[Finished | RetryLater]:
        self.on_load()
        ends: list[Finished | RetryLater] = []
        for one in files:
            self.attempts[one.key] += 1
            cause = self.refuse(one, self.attempts[one.key])
            ends.append(RetryLater(cause) if cause else loaded())
        return ends


def run(
    way: Loader, count: int, *, patience: float = 600, stop: threading.Event | None = None, mark: str = ""
) -> BackfillRun:
    ledger = OrderedProgress(LoadTally(), mark)
    return BackfillRun(
        way, job(count).source(mark), ledger,
        workers=3, patience=patience, stop=stop or threading.Event(), first_wait=0.001,
    )  # fmt: skip


def test_what_is_refused_for_now_is_tried_until_it_goes_through() -> None:
    """A throttled file is no failed file."""
    way = MemoryWay(lambda one, attempt: "429" if one.key.endswith("3") and attempt < 4 else "")
    it = run(way, 100)

    settled = [one for several in it.go() for one in several]

    assert [one.key for one, _ in settled] == [file(at).key for at in range(100)]
    assert it.ledger.tally.outcomes == {LoadOutcome.LOADED: 100}
    assert it.retries == {"429": 30}


def test_what_never_goes_through_is_a_failure_with_its_reason() -> None:
    """The others are not held up for ever by one whose key is disabled."""
    way = MemoryWay(lambda one, _attempt: "s3:KMS.DisabledException" if one == file(50) else "")
    it = run(way, 5_000)

    ends = dict(one for several in it.go() for one in several)

    assert it.ledger.tally.outcomes == {LoadOutcome.LOADED: 4_999, LoadOutcome.FAILED: 1}
    assert ends[file(50)].reason == "s3:KMS.DisabledException"
    assert ends[file(50)].detail.startswith("given up after 3 attempts")


def test_a_run_through_which_nothing_goes_stops_and_fails_no_file() -> None:
    """The cluster is down: that is said once, and everything is still to be done."""
    it = run(MemoryWay(lambda _one, _attempt: "no_connection"), 100, patience=0.05)

    with pytest.raises(SetupError, match="Nothing goes through: no_connection"):
        list(it.go())

    assert it.ledger.tally.files == 0
    assert it.ledger.mark == ""


def test_a_run_that_goes_on_gets_past_files_that_are_denied() -> None:
    """Interrupted among an account's files that may not be read, it must not end at them each time again."""
    ledger = OrderedProgress(LoadTally({"2025-01-30": Counter(loaded=1)}))
    it = BackfillRun(
        MemoryWay(lambda _one, _attempt: "s3:AccessDenied"), job(20).source(""), ledger,
        workers=3, patience=600, stop=threading.Event(), first_wait=0.001,
    )  # fmt: skip

    list(it.go())

    assert it.ledger.tally.outcomes == {LoadOutcome.LOADED: 1, LoadOutcome.FAILED: 20}


def test_a_stop_finishes_what_is_under_way_and_starts_nothing() -> None:
    """Ctrl-C loses no work and does not take long."""
    stop = threading.Event()
    way = MemoryWay(on_load=stop.set)
    it = run(way, 10_000, stop=stop)

    settled = [one for several in it.go() for one in several]

    assert len(settled) == sum(way.attempts.values()) <= 3 * way.batch


def test_files_in_memory_are_bounded_while_one_is_not_done() -> None:
    """A file that is tried for ten minutes must not let a million others pile up behind it."""
    way = MemoryWay(lambda one, attempt: "429" if one == file(0) and attempt < 6 else "")
    it = run(way, 6_000)

    most = max(it.ledger.open for _ in it.go())

    assert most <= 2_000
    assert it.ledger.tally.files == 6_000


# Announcing


@dataclass
class _Queue:
    """SQS: bodies that were taken, a depth as a test sets it, and causes for bodies that are refused."""

    held: int = 0
    refuse: Callable[[str], str] = lambda _: ""
    taken: list[str] = field(default_factory=list)

    def announce(self, bodies: Sequence[str]) -> list[str]:
        causes = [self.refuse(body) for body in bodies]
        self.taken += [body for body, cause in zip(bodies, causes, strict=True) if not cause]
        return causes

    def depth(self) -> tuple[int, int]:
        return self.held, 0


def test_each_file_is_announced_in_a_message_of_its_own() -> None:
    """One that goes back does not bring its siblings back."""
    queue = _Queue()
    way = QueueLoader(queue, "trail", RateLimiter(1_000_000, 10), max_depth=1_000_000)

    list(run(way, 25).go())

    announced = [parse_notification(body).objects for body in queue.taken]
    assert set(announced) == {(ObjectRef("trail", file(at).key),) for at in range(25)}
    assert len(announced) == 25
    assert {objects[0].size for objects in announced} == {100}


def test_nothing_is_announced_to_a_full_queue() -> None:
    """Live files come first: their notices must not stand behind a million others."""
    queue, now = _Queue(held=990), [0.0]
    way = QueueLoader(queue, "trail", RateLimiter(1_000, 10), max_depth=1_000, tick=lambda: now[0])
    now[0] = 100.0

    room = way.most()
    way.started(room)
    after = way.most()
    queue.held = 0
    now[0] += 6.0

    assert (room, after) == (10, 0)
    assert way.most() == 1_000


def test_a_message_that_sqs_does_not_take_is_sent_again() -> None:
    """SendMessageBatch can take nine of ten."""
    refused = iter(["sqs:InternalError"] * 3)
    queue = _Queue(refuse=lambda body: next(refused, "") if "000007" in body else "")
    it = run(QueueLoader(queue, "trail", RateLimiter(1_000_000, 10), max_depth=1_000_000), 20)

    list(it.go())

    assert len(queue.taken) == 20
    assert it.ledger.tally.outcomes == {LoadOutcome.ANNOUNCED: 20}


# Loading directly


def directly(parts: FakePipeline, stop: threading.Event | None = None) -> DirectLoader:
    def make(letters: InMemoryDeadLetters) -> Consumer:
        return Consumer(
            parts.store, parts.index, letters, parts.limits,
            now=parts.clock.now, monotonic=parts.clock.tick, jitter=lambda: 1.0,
        )  # fmt: skip

    return DirectLoader(make, "trail", workers=2, seconds=300, stop=stop or threading.Event())


def test_every_end_of_a_file_is_told_apart() -> None:
    """Loaded, there already, empty, broken, or to be tried again: what the table and the report are made of."""
    with make_pipeline() as parts:
        body = log_file(event(1), event(2))
        contents: list[bytes | Exception] = [
            body,
            body,
            log_file(),
            b"no gzip",
            StoreUnavailable("s3:SlowDown"),
            UnreadableObject(Reason.ARCHIVED, "it is archived"),
        ]
        for at, content in enumerate(contents):
            parts.store.put(file(at).key, content, bucket="trail")
        way = directly(parts)

        first = way.load([file(0)])
        ends = way.load([file(at) for at in range(1, 7)])
        way.close()

    assert first == [Finished(LoadOutcome.LOADED, (2, 2, 0, 0, 0))]
    assert ends[0] == Finished(LoadOutcome.DUPLICATE, (2, 0, 2, 0, 0))
    assert ends[1] == Finished(LoadOutcome.EMPTY, (0, 0, 0, 0, 0))
    assert [end.reason for end in ends if isinstance(end, Finished)][2:] == ["not_json", "archived", "not_found"]
    assert ends[3] == RetryLater("s3:SlowDown")


# What is written down


def saved(tmp_path: Path) -> Checkpoint:
    return Checkpoint(
        asked=ASKED, started_at=datetime(2026, 1, 1, tzinfo=UTC), since=None, until=datetime(2026, 1, 1, tzinfo=UTC),
        roots=[""], report=str(tmp_path / "failed.jsonl"),
    )  # fmt: skip


@given(data=st.data())
@settings(max_examples=15)
def test_killed_anywhere_and_run_again_every_file_is_settled_once(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What is on the disk at any moment is enough to go on: nothing left out, each counted once, each failure once."""
    folder = tmp_path_factory.mktemp("killed")
    state = CheckpointFile(folder / "state.json")
    way = MemoryWay(lambda one, _attempt: "s3:AccessDenied" if one.key.endswith("9") else "")
    finished = False

    for _ in range(6):
        finished = _lives(data, state, folder, way)
        if finished:
            break
    else:
        finished = _lives(None, state, folder, way)

    end = state.load(ASKED)
    assert finished
    assert end
    assert end.tally().outcomes == {LoadOutcome.LOADED: 180, LoadOutcome.FAILED: 20}
    assert set(way.attempts) == {file(at).key for at in range(200)}
    assert [failed_file(one).key for one in failures(folder / "failed.jsonl", "b")] == [
        file(at).key for at in range(9, 200, 10)
    ]


def _lives(data: st.DataObject | None, state: CheckpointFile, folder: Path, way: MemoryWay) -> bool:
    """Run until the end, or until a kill: then what is written afterwards is undone, as if it had never been."""
    now = state.load(ASKED) or saved(folder)
    report = FailureReport(folder / "failed.jsonl", now.report_bytes)
    it = BackfillRun(
        way, job(200).source(now.mark), OrderedProgress(now.tally(), now.mark),
        workers=3, patience=600, stop=threading.Event(), first_wait=0.0001,
    )  # fmt: skip
    beats = run_job(it, now, report, state, "b")
    for number, _ in enumerate(beats):
        state.save(now)
        if data and data.draw(st.booleans(), label=f"killed at {number}"):
            before, lines = state.path.read_bytes(), report.path.read_bytes() if report.path.exists() else b""
            beats.close()
            state.path.write_bytes(before)
            # A line that was written before the kill, and that the state does not know of.
            report.path.write_bytes(lines + b'{"object": "s3://b/half')
            return False
    return True


def test_a_state_of_another_backfill_is_refused_by_name(tmp_path: Path) -> None:
    """January's state must not say where February's goes on."""
    state = CheckpointFile(tmp_path / "state.json")
    state.save(saved(tmp_path))

    with pytest.raises(SetupError, match=r"account differ.*--restart"):
        state.load({"bucket": "b", "account": "123456789012"})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":1}'])
def test_a_state_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    """Somebody's own file under --state is not overwritten unasked."""
    (tmp_path / "state.json").write_bytes(content)

    with pytest.raises(SetupError, match="no state of a backfill"):
        CheckpointFile(tmp_path / "state.json").load(ASKED)


def test_two_runs_of_the_same_backfill_exclude_each_other(tmp_path: Path) -> None:
    """Each would move the other's mark."""
    state = CheckpointFile(tmp_path / "deeper" / "state.json")

    with state.held(), pytest.raises(SetupError, match="Another process"), CheckpointFile(state.path).held():
        pass
    with state.held():
        pass


def test_the_same_question_finds_its_state_and_another_does_not() -> None:
    """The default file is named by what is asked for."""
    environment = {"XDG_STATE_HOME": "/state"}

    assert state_path(environment, ASKED) == state_path(environment, dict(reversed(ASKED.items())))
    assert state_path(environment, ASKED) != state_path(environment, ASKED | {"account": "1"})
    assert str(state_path(environment, ASKED)).startswith("/state/trailsink/backfill-")


def test_a_report_reads_as_it_was_written(tmp_path: Path) -> None:
    """--retry-failed loads exactly those files."""
    report = FailureReport(tmp_path / "failed.jsonl")
    ended = Finished(LoadOutcome.FAILED, (3, 2, 0, 0, 1), "records_rejected", "1 of 3", ((1, "not_a_json_object"),))

    report.add("b", [(file(1), ended), (file(2), ended)])

    assert [failed_file(one) for one in failures(report.path, "b")] == [file(1), file(2)]
    first = msgspec.json.decode(report.path.read_bytes().splitlines()[0])
    assert first["rejected"] == [[1, "not_a_json_object"]]
    assert first["object"] == f"s3://b/{file(1).key}"


@pytest.mark.parametrize("content", [b"no report\n", b'{"object":"s3://other/k","key":"k"}\n', b'{"a":1}\n'])
def test_what_is_no_report_is_refused_by_its_line(tmp_path: Path, content: bytes) -> None:
    """A list of names is not a report, and another bucket's files are not here."""
    path = tmp_path / "failed.jsonl"
    path.write_bytes(content)

    with pytest.raises(SetupError, match="line 1"):
        list(failures(path, "b"))
