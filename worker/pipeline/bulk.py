"""The life of a `_bulk` request, without the network: what to send, what each answer means, what to send next.

Every action gets exactly one outcome, paired with its answer by position: ids repeat, positions do not.
docs.opensearch.org/latest/api-reference/document-apis/bulk/
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from isal import igzip_lib

from worker.pipeline.documents import Action, degrade

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Verdict(Enum):
    """What became of one action."""

    INDEXED = auto()
    DUPLICATE = auto()  # already there: an earlier delivery of the same record
    DEGRADED = auto()  # indexed in degraded form
    REJECTED = auto()  # refused for its content, in degraded form too
    UNAVAILABLE = auto()  # not the record's fault: ask again later


class Outcome(NamedTuple):
    """A verdict and its cause: a short code or OpenSearch's error type, not its text, which quotes the record."""

    verdict: Verdict
    cause: str = ""


_IN = frozenset({Verdict.INDEXED, Verdict.DUPLICATE, Verdict.DEGRADED})

# So many requests of one document refused in a row, and none taken: the search for the bad document is given up.
_TOO_MANY_REFUSALS = 20

INDEXED = Outcome(Verdict.INDEXED)
DUPLICATE = Outcome(Verdict.DUPLICATE)

# Below this a smaller request is no gentler: a node's limits are megabytes, and each request has its own price.
SMALLEST_HALF = 512 << 10

# A refused request that is so small a part of the node's memory for requests waits for its turn whole, so many times:
# where others hold all but a little of that memory for good, only what is smaller gets in.
_SMALL_PART = 1 / 4
_WHOLE_TIMES = 4


class Receipt(NamedTuple):
    """What came of one request: an outcome per action, by position, and what it cost.

    `halt` says why nothing more should be sent in this batch, "" when all is well.
    """

    outcomes: Sequence[Outcome]
    halt: str = ""
    requests: int = 1
    retries: int = 0
    throttled: int = 0
    wire_bytes: int = 0
    seconds: float = 0.0


class Answer(msgspec.Struct, frozen=True):
    """What the server said to one request.

    `status` is the HTTP status, 0 when there was no answer at all; `cause` the error type or a short code; `items` the
    status and error type of each action, in order, of a 200; `memory` the bytes that the node, or a shard, has for
    requests under way, where a refusal tells, else 0.
    """

    status: int
    cause: str = ""
    items: tuple[tuple[int, str], ...] = ()
    memory: int = 0


CREATED = (201, "")  # what nearly every item says


class Ruling(Enum):
    """What to do about one item, or one whole request."""

    INDEXED = auto()
    DUPLICATE = auto()
    REFUSED = auto()  # the content: degraded form, then rejected
    AGAIN = auto()  # backoff, then the same
    PARK = auto()  # a condition of the cluster or its set-up: back to the queue
    HALVE = auto()  # too much at once: in halves, now
    AGAIN_IN_HALVES = auto()


THROTTLED = 429

# Causes that are not OpenSearch's error types: the edge names them.
TOO_LARGE = "too_large"
TLS_FAILURE = "tls_failure"
THROTTLED_BY_AWS = "throttled"  # docs.aws.amazon.com/opensearch-service/latest/developerguide/handling-errors.html

# Conditions of the cluster or its set-up that arrive with a status that could mean the record.
_CLUSTER_CONDITIONS = frozenset(
    {
        "cluster_block_exception",  # write block, read-only, flood-stage disk; arrives as 403 or 429
        "index_closed_exception",
        "index_not_found_exception",  # auto-create is off
        "invalid_index_name_exception",  # our set-up: the prefix
        "security_exception",
        "validation_exception",  # maximum shards open
        TLS_FAILURE,  # somebody has to give the right certificate
    }
)


def rule_item(status: int, cause: str) -> Ruling:
    """Judge one item of a 200 answer by its status and error type."""
    if status in (200, 201):
        return Ruling.INDEXED
    if cause in _CLUSTER_CONDITIONS or status in (401, 403, 404):
        return Ruling.PARK
    if status == 409:
        return Ruling.DUPLICATE
    if status in (402, 408, 429) or status >= 500:
        return Ruling.AGAIN
    return Ruling.REFUSED if 400 <= status < 500 else Ruling.PARK


def rule_request(answer: Answer) -> Ruling:
    """Judge the answer to a whole request that was not a 200 with items."""
    status, cause = answer.status, answer.cause
    if cause in _CLUSTER_CONDITIONS:
        return Ruling.PARK
    if status == 413 or (status == 400 and cause):  # a 400 without an error type is not OpenSearch speaking
        return Ruling.HALVE
    if status == THROTTLED:
        # Indexing pressure counts the body: one above the node's limit can never pass whole.
        return Ruling.AGAIN_IN_HALVES
    if status in (0, 200, 402, 408) or status >= 500 or cause == THROTTLED_BY_AWS:
        return Ruling.AGAIN
    return Ruling.PARK  # 401, 403, 404, a redirect: credentials, policy, address


def is_strained(answer: Answer) -> bool:
    """Say whether an answer is a sign that the cluster has too much to do, or cannot be reached."""
    if answer.items:
        return any(rule_item(*item) is Ruling.AGAIN for item in set(answer.items))
    return rule_request(answer) in (Ruling.AGAIN, Ruling.AGAIN_IN_HALVES)


def is_crowded(answer: Answer) -> bool:
    """Say of a sign of strain whether there was no room for a request, or some of it, beside others under way."""
    return answer.status == THROTTLED or any(status == THROTTLED for status, _ in answer.items)


def is_halved(answer: Answer, size: int, times: int) -> bool:
    """Say whether a body of so many bytes comes again in halves after this answer, refused so many times before."""
    if answer.items or rule_request(answer) is not Ruling.AGAIN_IN_HALVES or size <= SMALLEST_HALF:
        return False
    return times >= _WHOLE_TIMES or size > _SMALL_PART * answer.memory


class Delivery:
    """One bulk request on its way, until each of its actions has an outcome.

    The edge sends what `next_body` gives and tells `settle` the answer; when nothing is left to send now but `waiting`
    is true, it pauses and calls `resume`; when its patience ends, it calls `give_up`.
    """

    def __init__(self, actions: Sequence[Action], *, max_bytes: int) -> None:
        self._actions = list(actions)
        self._outcomes: list[Outcome | None] = [None] * len(self._actions)
        self._max_bytes = max_bytes
        self._now: deque[list[int]] = deque([list(range(len(self._actions)))])
        self._later: list[list[int]] = []
        self._asked: list[int] = []
        self._times = 0  # that something was asked again
        self.cause = ""  # why it waits
        self._refusals = 0  # of requests that held one document
        self.parked = ""  # why a whole request was refused for what no retry can change

    @property
    def waiting(self) -> bool:
        """Whether some actions have to be asked again after a pause."""
        return bool(self._later)

    def next_body(self) -> bytes | None:
        """Return the next request body, uncompressed, or None when there is nothing to send now."""
        while self._now:
            self._asked = self._now.popleft()
            body = b"".join(self._actions[at].lines for at in self._asked)
            if len(body) <= self._max_bytes or len(self._asked) == 1:
                return body
            self._halve(self._asked)  # the degraded form is longer than the record
        return None

    def settle(self, answer: Answer) -> bool:
        """Take the answer to the body that `next_body` gave last; says whether the cluster took or has some of it."""
        if answer.status == 200 and len(answer.items) == len(self._asked):
            return self._settle_items(answer.items)
        self._settle_request(answer)
        return False

    def is_halved(self, answer: Answer) -> bool:
        """Say whether what was asked last comes again in halves after this answer."""
        size = sum(len(self._actions[at].lines) for at in self._asked)
        return len(self._asked) > 1 and is_halved(answer, size, self._times)

    def resume(self) -> None:
        """Ask again what has waited."""
        self._times += self.waiting
        self._now.extend(self._later)
        self._later = []

    def give_up(self, cause: str) -> list[Outcome]:
        """End the delivery: whatever has no outcome is unavailable. Returns the outcomes by position."""
        outcomes = [outcome or Outcome(Verdict.UNAVAILABLE, cause) for outcome in self._outcomes]
        if any(outcome.verdict is Verdict.REJECTED for outcome in outcomes):
            return self._believed(outcomes)
        return outcomes

    def _believed(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Blame a record only where its index takes others.

        The degraded form is built to be acceptable: an index that refuses it and everything else is not set up as it
        should be (a Serverless collection that takes no ids, a missing ingest pipeline, an alias without write index).
        """
        told = list(zip(self._actions, outcomes, strict=True))
        taking = {_index(action) for action, outcome in told if outcome.verdict in _IN}
        return [
            Outcome(Verdict.UNAVAILABLE, outcome.cause)
            if outcome.verdict is Verdict.REJECTED and outcome.cause != TOO_LARGE and _index(action) not in taking
            else outcome
            for action, outcome in told
        ]

    def _settle_items(self, items: tuple[tuple[int, str], ...]) -> bool:
        if items.count(CREATED) == len(items):
            for at in self._asked:
                self._take(at)
            return True
        taken = False
        refused: list[tuple[int, str]] = []
        again: list[int] = []
        for at, (status, cause) in zip(self._asked, items, strict=True):
            match rule_item(status, cause):
                case Ruling.INDEXED:
                    self._take(at)
                    taken = True
                case Ruling.DUPLICATE:
                    self._outcomes[at] = DUPLICATE
                    taken = True
                case Ruling.AGAIN:
                    again.append(at)
                    self.cause = cause or str(status)
                case Ruling.PARK:
                    self._outcomes[at] = Outcome(Verdict.UNAVAILABLE, cause or str(status))
                case _:
                    refused.append((at, cause or str(status)))
        if again:
            self._later.append(again)
        self._refuse(refused)
        return taken

    def _take(self, at: int) -> None:
        degraded = self._actions[at].degraded
        self._outcomes[at] = Outcome(Verdict.DEGRADED, degraded) if degraded else INDEXED

    def _refuse(self, refused: Iterable[tuple[int, str]]) -> None:
        """Give refused actions their second form; those that had it are rejected."""
        second: list[int] = []
        for at, cause in refused:
            if self._actions[at].degraded:
                self._outcomes[at] = Outcome(Verdict.REJECTED, cause)
            else:
                self._actions[at] = degrade(self._actions[at], cause)
                second.append(at)
        if second:
            self._now.appendleft(second)

    def _settle_request(self, answer: Answer) -> None:
        cause = answer.cause or (str(answer.status) if answer.status else "no_answer")
        ruling = rule_request(answer)
        if ruling is Ruling.PARK:
            self.parked = cause
            for at in self._asked:
                self._outcomes[at] = Outcome(Verdict.UNAVAILABLE, cause)
        elif ruling is Ruling.HALVE and len(self._asked) > 1:
            self._halve(self._asked)
        elif ruling is Ruling.HALVE and answer.status == 413:
            self._outcomes[self._asked[0]] = Outcome(Verdict.REJECTED, TOO_LARGE)
        elif ruling is Ruling.HALVE:
            self._refuse([(self._asked[0], cause)])
            self._refusals += 1
            if self._refusals >= _TOO_MANY_REFUSALS and not any(one and one.verdict in _IN for one in self._outcomes):
                self.parked = cause  # it is not the documents
        else:
            self.cause = cause
            middle = len(self._asked) // 2 if self.is_halved(answer) else 0
            self._later += [part for part in (self._asked[:middle], self._asked[middle:]) if part]

    def _halve(self, asked: list[int]) -> None:
        middle = len(asked) // 2
        self._now.extendleft((asked[middle:], asked[:middle]))


def _index(action: Action) -> bytes:
    """Return the part of the action line that names the index."""
    return action.lines[: action.lines.index(b'"_id"')]


def compressed(body: bytes) -> bytes:
    """Gzip a request body: ISA-L's level 1 takes a 17th of the CPU of zlib's level 6 and sends 21 % more."""
    packed: bytes = igzip_lib.compress(body, level=1, flag=igzip_lib.COMP_GZIP)
    return packed


def requests(actions: Iterable[Action], max_bytes: int, max_actions: int) -> Iterator[list[Action]]:
    """Cut a stream of actions into requests of at most `max_bytes` uncompressed and `max_actions`, in order.

    A single action above `max_bytes` makes a request of its own.
    """
    request: list[Action] = []
    size = 0
    for action in actions:
        if request and (size + len(action.lines) > max_bytes or len(request) == max_actions):
            yield request
            request, size = [], 0
        request.append(action)
        size += len(action.lines)
    if request:
        yield request
