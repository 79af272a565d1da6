"""The life of one bulk request, without the network: what to send, and what to send next, until all have an outcome.

Every action gets exactly one outcome, paired with its item by position: ids repeat, positions do not.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from worker.pipeline.bulk import (
    ACCEPTED,
    CONNECTION_LOST,
    CREATED,
    DUPLICATE,
    INDEXED,
    TIMEOUT,
    TOO_LARGE,
    UNINDEXABLE,
    BulkResponse,
    Disposition,
    Outcome,
    Verdict,
    classify_item,
    classify_response,
    should_split,
)
from worker.pipeline.documents import Form, degrade, simpler_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.pipeline.documents import Action

# After this many refused requests of a single document, and none accepted, the search for the bad document ends.
_MAX_SINGLE_REFUSALS = 20

# After this many losses of its connection, or timeouts, a request is sent in halves: one of its documents may be the
# cause. A half of such a request is halved after one more.
_LOSSES = 2

# Causes of a rejection that need no other document of the index as proof.
_PROVEN = frozenset({TOO_LARGE, UNINDEXABLE})

_UNKNOWN = Outcome(Verdict.UNAVAILABLE)


class Suspects:
    """The documents of requests whose connection was lost, or which timed out.

    One document can kill a node (github.com/opensearch-project/OpenSearch/issues/15985 is a relative). It is found by
    halving, at a pace that lets a node come back. `accepts` counts the responses that accepted something.
    """

    def __init__(self) -> None:
        self.accepts = 0
        self._losses = Counter[int]()  # by position: of requests that held it
        self._alone: dict[int, int] = {}  # `accepts` when a document alone lost its connection

    def should_halve(self, sent: Sequence[int]) -> bool:
        """Count a loss of one request; returns whether it is sent in halves."""
        self._losses.update(sent)
        if self._losses[sent[0]] < _LOSSES:
            return False
        for position in sent:
            self._losses[position] = _LOSSES - 1
        return True

    def is_proven(self, position: int) -> bool:
        """Count a loss of one document alone; returns whether the cluster accepted another one since its last.

        A cluster that is away loses every connection, and proves nothing.
        """
        before = self._alone.pop(position, None)
        if before is None or before == self.accepts:
            self._alone[position] = self.accepts
            return False
        return True


class Delivery:
    """One bulk request, until each of its actions has an outcome.

    The sender posts what `next_body` returns and gives the response to `apply`. When nothing is left to send now but
    `has_retries` is true, it waits and calls `release_retries`. When its retry budget ends, it calls `finish`.
    """

    def __init__(self, actions: Sequence[Action], *, max_bytes: int) -> None:
        self._actions = list(actions)
        self._outcomes: list[Outcome | None] = [None] * len(self._actions)
        self._max_bytes = max_bytes
        self._ready: deque[list[int]] = deque([list(range(len(self._actions)))])
        self._retries: list[list[int]] = []
        self._sent: list[int] = []  # what the last body held
        self._retry_rounds = 0
        self._single_refusals = 0
        self._suspects = Suspects()
        self.unproven: list[int] = []  # refused in every form, with no proof that it is their fault
        self.retry_cause = ""
        self.deferred_cause = ""  # why a whole request was refused for what no retry can change

    @property
    def has_retries(self) -> bool:
        """Whether some actions have to be sent again after a wait."""
        return bool(self._retries)

    def next_body(self) -> bytes | None:
        """Return the next request body, uncompressed, or None when there is nothing to send now."""
        while self._ready:
            self._sent = self._ready.popleft()
            body = b"".join(self._actions[position].lines for position in self._sent)
            if len(body) <= self._max_bytes or len(self._sent) == 1:
                return body
            self._ready.extendleft(reversed(_halves(self._sent)))  # a simpler form is longer than the record
        return None

    def apply(self, response: BulkResponse) -> bool:
        """Apply the response to the last body; returns whether the cluster accepted or already has some of it."""
        if response.status == 200 and len(response.items) == len(self._sent):  # noqa: PLR2004
            accepted = self._apply_items(response.items)
            self._suspects.accepts += accepted
            return accepted
        # A control has its outcome.
        self._sent = [position for position in self._sent if not self._is_accepted(position)]
        if self._sent:
            self._apply_whole(response)
        return False

    def should_split(self, response: BulkResponse) -> bool:
        """Return whether the last body is sent in halves after this response."""
        size = sum(len(self._actions[position].lines) for position in self._sent)
        return len(self._sent) > 1 and should_split(response, size, self._retry_rounds)

    def release_retries(self) -> None:
        """Make what has waited ready to be sent again."""
        self._retry_rounds += self.has_retries
        self._ready.extend(self._retries)
        self._retries = []

    def finish(self, cause: str) -> list[Outcome]:
        """End the delivery: whatever has no outcome is unavailable. Returns the outcomes by position."""
        outcomes = [outcome or Outcome(Verdict.UNAVAILABLE, cause) for outcome in self._outcomes]
        self.unproven = unproven_rejections(self._actions, outcomes)
        for place in self.unproven:
            outcomes[place] = Outcome(Verdict.UNAVAILABLE, outcomes[place].cause)
        return outcomes

    def _apply_items(self, items: tuple[tuple[int, str], ...]) -> bool:
        if items.count(CREATED) == len(items):
            for position in self._sent:
                self._accept(position)
            return True
        accepted = False
        refused: list[tuple[int, str]] = []
        retries: list[int] = []
        for position, (status, cause) in zip(self._sent, items, strict=True):
            disposition = classify_item(status, cause)
            if self._is_accepted(position):  # a control: its outcome is known
                accepted |= disposition in (Disposition.INDEXED, Disposition.DUPLICATE)
                continue
            match disposition:
                case Disposition.INDEXED:
                    self._accept(position)
                    accepted = True
                case Disposition.DUPLICATE:
                    self._outcomes[position] = DUPLICATE
                    accepted = True
                case Disposition.RETRY:
                    retries.append(position)
                    self.retry_cause = cause or str(status)
                case Disposition.DEFER:
                    self._outcomes[position] = Outcome(Verdict.UNAVAILABLE, cause or str(status))
                case _:
                    refused.append((position, cause or str(status)))
        if retries:
            self._retries.append(retries)
        self._refuse(refused)
        return accepted

    def _accept(self, position: int) -> None:
        degraded = self._actions[position].degraded
        self._outcomes[position] = Outcome(Verdict.DEGRADED, degraded) if degraded else INDEXED

    def _refuse(self, refused: Iterable[tuple[int, str]]) -> None:
        """Give refused actions their next simpler form; those that had the last one are rejected."""
        again: list[int] = []
        for position, cause in refused:
            if simpler := simpler_form(self._actions[position], cause):
                self._actions[position] = simpler
                again.append(position)
            else:
                self._outcomes[position] = Outcome(Verdict.REJECTED, cause)
        if again:
            self._ready.appendleft(again)

    def _apply_whole(self, response: BulkResponse) -> None:
        cause = response.cause or (str(response.status) if response.status else "no_answer")
        disposition = classify_response(response)
        if disposition is Disposition.DEFER:
            self.deferred_cause = cause
            for position in self._sent:
                self._outcomes[position] = Outcome(Verdict.UNAVAILABLE, cause)
        elif disposition is Disposition.SPLIT and len(self._sent) > 1:
            self._ready.extendleft(reversed(_halves(self._sent)))
        elif disposition is Disposition.SPLIT and response.status == 413:  # noqa: PLR2004
            self._outcomes[self._sent[0]] = Outcome(Verdict.REJECTED, TOO_LARGE)
        elif disposition is Disposition.SPLIT:
            self._refuse([(self._sent[0], cause)])
            self._single_refusals += 1
            accepted = any(outcome and outcome.verdict in ACCEPTED for outcome in self._outcomes)
            if self._single_refusals >= _MAX_SINGLE_REFUSALS and not accepted:
                self.deferred_cause = cause  # it is not the documents
        elif response.lost or cause == TIMEOUT:
            self._apply_loss(cause, lost=response.lost)
        else:
            self.retry_cause = cause
            self._retries += _halves(self._sent) if self.should_split(response) else [self._sent]

    def _apply_loss(self, cause: str, *, lost: bool) -> None:
        """Send a request again that was lost or timed out; in halves if it was not the first time."""
        self.retry_cause = cause
        if len(self._sent) == 1 and lost:
            self._apply_lone_loss(self._sent[0])
        elif len(self._sent) > 1 and self._suspects.should_halve(self._sent):
            self._retries += _halves(self._sent)
        else:
            self._retries.append(self._sent)

    def _apply_lone_loss(self, position: int) -> None:
        if not self._suspects.is_proven(position):
            control = next(filter(self._is_accepted, range(len(self._actions))), None)
            self._retries += [[position]] if control is None else [[control], [position]]
        elif self._actions[position].form is Form.DEGRADED:
            self._outcomes[position] = Outcome(Verdict.REJECTED, UNINDEXABLE)
        else:
            self._actions[position] = degrade(self._actions[position], CONNECTION_LOST)
            self._retries.append([position])

    def _is_accepted(self, position: int) -> bool:
        return (self._outcomes[position] or _UNKNOWN).verdict in ACCEPTED


def _halves(positions: list[int]) -> tuple[list[int], list[int]]:
    middle = len(positions) // 2
    return positions[:middle], positions[middle:]


def unproven_rejections(actions: Sequence[Action], outcomes: Sequence[Outcome]) -> list[int]:
    """Return the places of rejected actions whose index accepted no other: the record may not be to blame.

    The degraded form is built to be acceptable. An index that refuses it and everything else is not set up as it should
    be (a Serverless collection that takes no ids, a missing ingest pipeline, an alias without write index).
    """
    if not any(outcome.verdict is Verdict.REJECTED for outcome in outcomes):
        return []
    pairs = list(zip(actions, outcomes, strict=True))
    accepting = {_index_part(action) for action, outcome in pairs if outcome.verdict in ACCEPTED}
    return [
        place
        for place, (action, outcome) in enumerate(pairs)
        if outcome.verdict is Verdict.REJECTED and outcome.cause not in _PROVEN and _index_part(action) not in accepting
    ]


def _index_part(action: Action) -> bytes:
    """Return the part of the action line that names the index."""
    return action.lines[: action.lines.index(b'"_id"')]
