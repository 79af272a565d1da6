"""The operator's work on dead letters: look, move back, write to a file, discard, bring in.

Looking is receiving: each letter is hidden from others while it is held, and everything that is still held when a look
ends, however it ends, is handed back. Whatever is moved is sent first and deleted after: killed between the two, a
letter is there twice, which changes nothing, and never lost.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from worker.dlq.eligibility import Judgement, Silence, Verdict, depends_on_s3, judge, newest_version
from worker.dlq.letters import Choice, attributes_of, written
from worker.dlq.redrive import MoveTask, Plan, Policy
from worker.dlq.summary import Survey
from worker.errors import QueueUnavailable, SetupError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from worker.cloudtrail.keys import ObjectState
    from worker.dlq.letters import Attribute, Letter, Line
    from worker.pipeline.notifications import ObjectRef

# A queue lets 120,000 messages be in flight at once, and then silently gives none.
# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
MOST_HELD = 100_000

# Letters stay hidden no longer than a look can take, in case it is killed: a receive of ten takes some 20 ms, and a
# tenth of this speed is still enough.
_HIDDEN_SECONDS = 60
_LETTERS_PER_SECOND = 50
_LONGEST_HIDDEN = 43_200  # SQS's own limit

_CHUNK = 100  # letters judged and moved at once: their bodies are what is held in memory
_STEP_SECONDS = 20  # with a rate, a chunk is what is moved in so long, far less than letters stay hidden
_ASKERS = 8  # of S3, at once

_POLL_SECONDS = 1.0
_UNSEEN_POLLS = 30  # a task that was just started need not be listed yet
_RUNNING = ("RUNNING", "CANCELLING")

# Letters of one send and one delete: what can be there twice after a crash between them.
_TOGETHER = 10

T = TypeVar("T")


class Letters(Protocol):
    """The dead-letter queue, and the way back to the source queue. All raise QueueUnavailable or SetupError."""

    def depth(self) -> tuple[int, int]:
        """Count the letters that can be received, and those in somebody's hands."""

    def receive(self, hidden_seconds: int) -> list[Letter]:
        """Receive some letters, hidden for so long; [] when there are no more."""

    def release(self, receipts: Sequence[str]) -> None:
        """Make letters visible again, as far as possible."""

    def delete(self, receipts: Sequence[str]) -> int:
        """Delete letters; returns how many could not be."""

    def send_back(self, bodies: Sequence[str]) -> list[bool]:
        """Send messages to the source queue; says of each whether it was taken."""

    def put(self, letters: Sequence[tuple[str, Mapping[str, Attribute]]]) -> list[bool]:
        """Send letters to the dead-letter queue; says of each whether it was taken."""

    def start_move(self, per_second: int | None) -> str:
        """Start SQS's own move of all letters; returns a handle."""

    def move_tasks(self) -> list[MoveTask]:
        """List the last moves, the newest first."""

    def cancel_move(self, handle: str) -> int | None:
        """Cancel a move; returns how many it had moved, None when it is over already."""


class Objects(Protocol):
    """S3, as far as a letter's object goes."""

    def state(self, ref: ObjectRef) -> ObjectState | None:
        """Describe the newest version under the key, None when there is none; raises StoreUnavailable."""


class Look:
    """One pass over the letters, each once; what was not settled is handed back at its end, however that comes."""

    def __init__(self, queue: Letters, say: Callable[[str], None], most: int) -> None:
        self._queue, self._say, self._most = queue, say, most
        self._held: dict[str, str] = {}  # receipts by id
        self._settled: set[str] = set()
        self._receiver = ThreadPoolExecutor(1)
        self._visible, self.hidden = queue.depth()
        self.complete = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.shutdown()
        if self._held:
            self._say(f"Handing {len(self._held):,} letters back ...")
        self._queue.release(list(self._held.values()))

    def letters(self) -> Iterator[Letter]:
        """Receive letter by letter."""
        hidden_seconds = min(_HIDDEN_SECONDS + self._visible // _LETTERS_PER_SECOND, _LONGEST_HIDDEN)
        again = 0
        while received := self._receive(hidden_seconds):
            fresh = [one for one in received if one.id not in self._held and one.id not in self._settled]
            self._hold(received)
            self._say(f"Looked at {self.count:,} of about {max(self._visible, self.count):,} letters ...")
            yield from fresh
            if len(fresh) < len(received):
                # Slower than was thought: the first letters come again, and could keep the last from ever coming.
                hidden_seconds = min(2 * hidden_seconds, _LONGEST_HIDDEN)
            again = 0 if fresh else again + len(received)
            if again > 2 * self.count:
                return
            if len(self._held) >= self._most:
                self.complete = False
                return

    def _receive(self, hidden_seconds: int) -> list[Letter]:
        """Receive some letters; an interrupt waits for the answer, or the letters in it would stay hidden."""
        answer = self._receiver.submit(self._queue.receive, hidden_seconds)
        try:
            return answer.result()
        except KeyboardInterrupt:
            if not wait([answer]).not_done and not answer.exception():
                self._hold(answer.result())
            raise

    def _hold(self, received: Iterable[Letter]) -> None:
        self._held.update((one.id, one.receipt) for one in received if one.id not in self._settled)

    @property
    def count(self) -> int:
        """How many letters were seen."""
        return len(self._held) + len(self._settled)

    def chosen(self, choice: Choice) -> Iterator[Letter]:
        """Receive the letters that are meant; ends early when all that are named have come."""
        missing = set(choice.ids)
        for letter in self.letters():
            if choice.takes(letter):
                yield letter
            missing.discard(letter.id)
            if choice.ids and not missing:
                return

    def named(self, ids: set[str]) -> Iterator[Letter]:
        """Receive the letters of these ids: none for no ids, which a choice would take for no condition."""
        if ids:
            yield from self.chosen(Choice(ids=frozenset(ids)))

    def sum_up(self, survey: Survey) -> None:
        """Tell a survey what the look as a whole found."""
        survey.end(seen=self.count, hidden=self.hidden, complete=self.complete)

    def receipt(self, letter: Letter) -> str:
        """Return the receipt that counts: that of the last receive."""
        return self._held[letter.id]

    def settle(self, letters: Iterable[Letter]) -> None:
        """Let go of letters that are no longer in the queue."""
        for letter in letters:
            del self._held[letter.id]
            self._settled.add(letter.id)


class Desk:
    """Works on the letters of one queue; `say` is told how far it is, in a line for people."""

    def __init__(
        self,
        queue: Letters,
        objects: Objects,
        *,
        sleep: Callable[[float], None],
        say: Callable[[str], None],
        most_held: int = MOST_HELD,
    ) -> None:
        self._queue, self._objects, self._sleep, self._say, self._most_held = queue, objects, sleep, say, most_held

    def _look(self) -> Look:
        return Look(self._queue, self._say, self._most_held)

    def look(self, choice: Choice, take: Callable[[Letter], object] = lambda _: None) -> Survey:
        """Show each letter that is meant to `take`; returns what there is."""
        survey = Survey()
        with self._look() as look:
            for letter in look.chosen(choice):
                survey.add(letter)
                take(letter)
            look.sum_up(survey)
        return survey

    def find(self, id_: str) -> Letter:
        """Return the letter of this id, handed back already; raises SetupError when there is none."""
        found: list[Letter] = []
        choice = Choice(ids=frozenset({id_}))
        survey = self.look(choice, found.append)
        survey.refuse_unknown(choice)
        return found[0]

    def judge(self, letters: Sequence[Letter], policy: Policy) -> list[Judgement]:
        """Judge letters, asking S3 about several objects at once."""
        if policy.newest:
            return [newest_version(letter) for letter in letters]
        with ThreadPoolExecutor(_ASKERS) as pool:
            states = list(pool.map(self._state, letters))
        return [judge(letter, state, force=policy.force) for letter, state in zip(letters, states, strict=True)]

    def _state(self, letter: Letter) -> ObjectState | Silence | None:
        ref = depends_on_s3(letter)
        try:
            return self._objects.state(ref) if ref else None
        except StoreUnavailable as cause:
            return Silence(str(cause))

    # Moving back

    def plan(self, choice: Choice, policy: Policy) -> Plan:
        """Judge the letters that are meant, and leave them where they are."""
        plan = Plan()
        with self._look() as look:
            for some in _chunks(look.chosen(choice), _CHUNK):
                for letter, judged in zip(some, self.judge(some, policy), strict=True):
                    plan.add(letter, judged)
            look.sum_up(plan.survey)
        return plan

    def move(self, plan: Plan, policy: Policy, *, rate: int | None = None) -> None:
        """Move the letters that do not stay back one by one, at most `rate` in a second.

        Only those that were planned: one that fails again meanwhile comes back under another id, and would be moved in
        circles. Raises QueueUnavailable when SQS takes no more; `plan` says how far it came.
        """
        size = _CHUNK if rate is None else max(1, min(_CHUNK, rate * _STEP_SECONDS))
        with self._look() as look:
            for some in _chunks(look.named(plan.going), size):
                judged = zip(some, self.judge(some, policy), strict=True)
                self._move(look, [(one, how.body) for one, how in judged if how.verdict is not Verdict.STAYS], plan)
                if rate is not None:
                    self._sleep(len(some) / rate)

    def _move(self, look: Look, going: Sequence[tuple[Letter, str]], plan: Plan) -> None:
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

    def export(self, choice: Choice, write: Callable[[bytes], object]) -> Survey:
        """Write the letters that are meant, a line of JSON each; they stay where they are."""
        return self.look(choice, lambda letter: write(written(letter)))

    def discard(self, ids: set[str]) -> tuple[int, int]:
        """Delete the letters of these ids; returns how many went, and how many could not be deleted."""
        gone = failed = 0
        with self._look() as look:
            for some in _chunks(look.named(ids), _CHUNK):
                bad = self._queue.delete([look.receipt(letter) for letter in some])
                look.settle(some)
                gone, failed = gone + len(some) - bad, failed + bad
        return gone, failed

    def bring_in(self, lines: Iterable[Line], *, to_source: bool) -> int:
        """Send exported letters to the dead-letter queue, or their bodies to the source queue; returns how many.

        Raises SetupError that says how far it came.
        """
        done = 0
        for some in _chunks(iter(lines), _TOGETHER):
            try:
                if to_source:
                    taken = self._queue.send_back([line.body for line in some])
                else:
                    taken = self._queue.put([(line.body, attributes_of(line)) for line in some])
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
