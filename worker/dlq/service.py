"""The operator's work on dead letters: look, move back, write to a file, discard, bring in.

Looking is receiving: each letter is hidden from others while it is held, and everything that is still held when a look
ends, however it ends, is handed back. Whatever is moved is sent first and deleted after: killed between the two, a
letter is there twice, which changes nothing, and never lost.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from worker.dlq.browse import MAX_HELD, DeadLetterPort, QueueBrowser
from worker.dlq.eligibility import Assessment, RedriveAction, StoreError, announce_latest_version, assess, depends_on_s3
from worker.dlq.export import encode_line, sent_attributes
from worker.dlq.letters import LetterFilter
from worker.dlq.move_task import MoveTask
from worker.dlq.redrive import RedriveOptions, RedrivePlan
from worker.dlq.summary import LetterSummary
from worker.errors import QueueUnavailable, SetupError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from worker.dlq.export import ExportedLetter
    from worker.dlq.letters import Letter
    from worker.pipeline.objects import ObjectHead, ObjectRef


_CHUNK = 100  # letters judged and moved at once: their bodies are what is held in memory


_STEP_SECONDS = 20  # with a rate, a chunk is what is moved in so long, far less than letters stay hidden


_ASKERS = 8  # of S3, at once


_POLL_SECONDS = 1.0


_UNSEEN_POLLS = 30  # a task that was just started need not be listed yet


_RUNNING = ("RUNNING", "CANCELLING")


# Letters of one send and one delete: what can be there twice after a crash between them.
_TOGETHER = 10


T = TypeVar("T")


class ObjectHeads(Protocol):
    """S3, as far as a letter's object goes."""

    def head(self, ref: ObjectRef) -> ObjectHead | None:
        """Describe the newest version under the key, None when there is none; raises StoreUnavailable."""


class DeadLetterService:
    """Works on the letters of one queue; `say` is told how far it is, in a line for people."""

    def __init__(
        self,
        queue: DeadLetterPort,
        objects: ObjectHeads,
        *,
        sleep: Callable[[float], None],
        say: Callable[[str], None],
        most_held: int = MAX_HELD,
    ) -> None:
        self._queue, self._objects, self._sleep, self._say, self._most_held = queue, objects, sleep, say, most_held

    def _look(self) -> QueueBrowser:
        return QueueBrowser(self._queue, self._say, self._most_held)

    def look(self, choice: LetterFilter, take: Callable[[Letter], object] = lambda _: None) -> LetterSummary:
        """Show each letter that is meant to `take`; returns what there is."""
        survey = LetterSummary()
        with self._look() as look:
            for letter in look.chosen(choice):
                survey.add(letter)
                take(letter)
            look.sum_up(survey)
        return survey

    def find(self, id_: str) -> Letter:
        """Return the letter of this id, handed back already; raises SetupError when there is none."""
        found: list[Letter] = []
        choice = LetterFilter(ids=frozenset({id_}))
        survey = self.look(choice, found.append)
        survey.refuse_unknown(choice)
        return found[0]

    def assess(self, letters: Sequence[Letter], policy: RedriveOptions) -> list[Assessment]:
        """Judge letters, asking S3 about several objects at once."""
        if policy.newest:
            return [announce_latest_version(letter) for letter in letters]
        with ThreadPoolExecutor(_ASKERS) as pool:
            states = list(pool.map(self._state, letters))
        return [assess(letter, state, force=policy.force) for letter, state in zip(letters, states, strict=True)]

    def _state(self, letter: Letter) -> ObjectHead | StoreError | None:
        ref = depends_on_s3(letter)
        try:
            return self._objects.head(ref) if ref else None
        except StoreUnavailable as cause:
            return StoreError(str(cause))

    # Moving back

    def plan(self, choice: LetterFilter, policy: RedriveOptions) -> RedrivePlan:
        """Judge the letters that are meant, and leave them where they are."""
        plan = RedrivePlan()
        with self._look() as look:
            for some in _chunks(look.chosen(choice), _CHUNK):
                for letter, judged in zip(some, self.assess(some, policy), strict=True):
                    plan.add(letter, judged)
            look.sum_up(plan.survey)
        return plan

    def move(self, plan: RedrivePlan, policy: RedriveOptions, *, rate: int | None = None) -> None:
        """Move the letters that do not stay back one by one, at most `rate` in a second.

        Only those that were planned: one that fails again meanwhile comes back under another id, and would be moved in
        circles. Raises QueueUnavailable when SQS takes no more; `plan` says how far it came.
        """
        size = _CHUNK if rate is None else max(1, min(_CHUNK, rate * _STEP_SECONDS))
        with self._look() as look:
            for some in _chunks(look.named(plan.going), size):
                judged = zip(some, self.assess(some, policy), strict=True)
                self._move(
                    look, [(one, how.body) for one, how in judged if how.verdict is not RedriveAction.STAYS], plan
                )
                if rate is not None:
                    self._sleep(len(some) / rate)

    def _move(self, look: QueueBrowser, going: Sequence[tuple[Letter, str]], plan: RedrivePlan) -> None:
        for at in range(0, len(going), _TOGETHER):
            some = going[at : at + _TOGETHER]
            taken = self._queue.send_back([body for _, body in some])
            sent = [letter for (letter, _), yes in zip(some, taken, strict=True) if yes]
            plan.moved += len(sent)
            plan.undeleted += self._queue.delete([look.receipt(letter) for letter in sent])
            look.settle(sent)

    # SQS's own move

    def move_all(self, rate: int | None) -> MoveTask:
        """Have SQS move all letters, and follow it to its end; returns how it ended.

        Interrupted, it cancels the task: the task that it returns then says how far it had come.
        """
        earlier = self.idle()
        try:
            return self._follow(self._queue.start_move(rate), earlier)
        except KeyboardInterrupt:
            self._say("Cancelling the move task ...")
            if (begun := self._new(earlier)) is None:
                raise
            return self._cancelled(begun.handle, earlier) if begun.status in _RUNNING else begun

    def idle(self) -> list[MoveTask]:
        """Return the earlier tasks; raises SetupError when one is running.

        To be asked before a look: letters that are held are hidden from the task, which then ends before its time.
        """
        tasks = self._queue.move_tasks()
        if running := _running(tasks):
            raise SetupError(
                f"A move task of this queue is running already: {_progress(running)}. Follow it with --attach, or end"
                " it with --cancel."
            )
        return tasks

    def attach(self) -> MoveTask | None:
        """Follow the move task that is running, None when there is none. Interrupted, the task runs on."""
        tasks = self._queue.move_tasks()
        running = _running(tasks)
        return self._follow(running.handle, tasks[1:]) if running else None

    def cancel(self) -> MoveTask | None:
        """Cancel the move task that is running, None when there is none; returns how far it came."""
        tasks = self._queue.move_tasks()
        running = _running(tasks)
        return self._cancelled(running.handle, tasks[1:]) if running else None

    def left(self) -> int:
        """Count the letters that are there, approximately."""
        return sum(self._queue.depth())

    def _cancelled(self, handle: str, earlier: Sequence[MoveTask]) -> MoveTask:
        moved = self._queue.cancel_move(handle)
        if moved is None:
            return self._follow(handle, earlier)
        task = MoveTask("CANCELLED", moved, moved)  # as it stays where a cancelled task is listed no more: ElasticMQ
        for _ in range(_UNSEEN_POLLS):
            task = self._new(earlier, handle) or task
            if task.status not in _RUNNING:
                break
            self._sleep(_POLL_SECONDS)
        return replace(task, cancelled=True)

    def _follow(self, handle: str, earlier: Sequence[MoveTask]) -> MoveTask:
        """Ask until the task has ended."""
        unseen = 0
        while True:
            task = self._new(earlier, handle)
            if task and task.status not in _RUNNING:
                return task
            if task:
                self._say(f"{_progress(task)} ...")
            elif (unseen := unseen + 1) > _UNSEEN_POLLS:
                raise SetupError("SQS does not list the move task that it started; trailsink dlq list shows the rest.")
            self._sleep(_POLL_SECONDS)

    def _new(self, earlier: Sequence[MoveTask], handle: str = "") -> MoveTask | None:
        """Return the task of this handle, or, when it has none any more because it ended, the one that is new."""
        past = {one.started for one in earlier}
        tasks = self._queue.move_tasks()
        return next((one for one in tasks if (handle and one.handle == handle) or one.started not in past), None)

    # Files

    def export(self, choice: LetterFilter, write: Callable[[bytes], object]) -> LetterSummary:
        """Write the letters that are meant, a line of JSON each; they stay where they are."""
        return self.look(choice, lambda letter: write(encode_line(letter)))

    def discard(self, ids: set[str]) -> tuple[int, int]:
        """Delete the letters of these ids; returns how many went, and how many could not be deleted."""
        gone = failed = 0
        with self._look() as look:
            for some in _chunks(look.named(ids), _CHUNK):
                bad = self._queue.delete([look.receipt(letter) for letter in some])
                look.settle(some)
                gone, failed = gone + len(some) - bad, failed + bad
        return gone, failed

    def bring_in(self, lines: Iterable[ExportedLetter], *, to_source: bool) -> int:
        """Send exported letters to the dead-letter queue, or their bodies to the source queue; returns how many.

        Raises SetupError that says how far it came.
        """
        done = 0
        for some in _chunks(iter(lines), _TOGETHER):
            try:
                if to_source:
                    taken = self._queue.send_back([line.body for line in some])
                else:
                    taken = self._queue.put([(line.body, sent_attributes(line)) for line in some])
            except QueueUnavailable as cause:
                raise SetupError(f"{cause}; {done} letters were sent before that.") from cause
            if not all(taken):
                raise SetupError(
                    f"SQS did not take line {done + taken.index(False) + 1}; {sum(taken) + done} were sent."
                )
            done += len(some)
            self._say(f"Sent {done:,} letters ...")
        return done


def _running(tasks: Sequence[MoveTask]) -> MoveTask | None:
    """Return the task that is under way: SQS allows one for each queue, and lists the newest first."""
    return next((one for one in tasks[:1] if one.status in _RUNNING), None)


def _progress(task: MoveTask) -> str:
    to = f" to {task.destination}" if task.destination else ""
    return f"{task.moved:,} of about {max(task.to_move, task.moved):,} letters moved{to}"


def _chunks(several: Iterator[T], size: int) -> Iterator[list[T]]:
    while some := list(islice(several, size)):
        yield some
