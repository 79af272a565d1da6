"""From the accounts of files to the verdict on each message: done, or handed back; and the dead letters it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cutoff import Cutoff
from worker.errors import MalformedMessage, QueueUnavailable, Reason
from worker.pipeline.accounting import FileOutcome
from worker.pipeline.deadline import DEADLINE
from worker.pipeline.notifications import Notification, s3_notification
from worker.pipeline.ports import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.pipeline.accounting import FileTally
    from worker.pipeline.deadline import Deadline
    from worker.pipeline.limits import Limits
    from worker.pipeline.objects import ObjectRef
    from worker.pipeline.ports import Message, Queue

_SHOWN_REJECTIONS = 5  # in the one line for people
_DETAIL_CHARACTERS = 1_000

# A message that could not be started for lack of time is no worse than the others: it comes back at once. Only for its
# first receives: on a cluster that is too slow all day, it must not use up its receives.
_NOT_STARTED_SECONDS = 5
_QUICK_RECEIVES = 3

# This close to the end of the invocation, no dead letter is sent.
_LAST_SECONDS = 2.0

# One letter may take this long: it must not keep the letters of other messages from being sent.
_LETTER_SECONDS = 10.0


class Settlement:
    """Decides which messages of a batch are done, and sends their dead letters.

    `files` are the accounts of all objects that were read. `dead_letters` counts those that were sent, `unsent` holds
    why others could not be.
    """

    def __init__(self, files: Mapping[ObjectRef, FileTally], queue: Queue, deadline: Deadline) -> None:
        self._files, self._queue, self._deadline = files, queue, deadline
        self._sent: set[ObjectRef] = set()
        self.dead_letters = 0
        self.unsent: set[str] = set()

    def settle(self, message: Message, notification: Notification | MalformedMessage) -> list[str]:
        """Return why a message must go back; [] when all of it is done and its dead letters are sent."""
        files = self._files_of(notification)
        causes = [file.unavailable for file in files if file.outcome is FileOutcome.HANDED_BACK]
        # Dead letters are sent last: a message that goes back would bring the same ones again each time.
        if not causes and not self._send_dead_letters(message, notification, files):
            return ["dead_letter_queue"]
        return causes

    def _files_of(self, notification: Notification | MalformedMessage) -> list[FileTally]:
        if isinstance(notification, MalformedMessage):
            return []
        refs = dict.fromkeys(ref for ref in notification.objects if ref in self._files)
        return [self._files[ref] for ref in refs]

    def _send_dead_letters(
        self, message: Message, notification: Notification | MalformedMessage, files: Sequence[FileTally]
    ) -> bool:
        """Send the dead letters of a message; False when one could not be sent."""
        try:
            if detail := malformed_detail(notification):
                reason = Reason.MALFORMED_MESSAGE
                self._send(DeadLetter(message.body, reason, detail, message.id, message.receive_count))
            for file in files:
                if file.outcome is FileOutcome.DEAD_LETTER and file.ref not in self._sent:
                    if self._deadline.remaining() <= _LAST_SECONDS:
                        return False  # a notification of a thousand missing objects; its letters come again, harmlessly
                    self._send(_dead_letter(file, message))
                    self._sent.add(file.ref)
        except QueueUnavailable as cause:
            self.unsent.add(str(cause))
            return False
        return True

    def _send(self, letter: DeadLetter) -> None:
        seconds = self._deadline.remaining() - _LAST_SECONDS
        with Cutoff(min(_LETTER_SECONDS, max(1.0, seconds))):
            self._queue.send_dead_letter(letter)
        self.dead_letters += 1


def malformed_detail(notification: Notification | MalformedMessage | None) -> str:
    """Return what of a message could not be read, in one line; "" when all of it could."""
    match notification:
        case MalformedMessage() as cause:
            return str(cause)
        case Notification(malformed=parts):
            return "; ".join(parts)[:_DETAIL_CHARACTERS]
        case _:
            return ""


def backoff(limits: Limits, receives: int, causes: set[str], jitter: float) -> int:
    """Return the seconds until a message that was received this often may be received again.

    `jitter` is a random factor between 0 and 1.
    """
    if causes == {DEADLINE} and receives <= _QUICK_RECEIVES:
        return _NOT_STARTED_SECONDS
    # Doubling with each receive: a neighbour that is down all day costs fewer than MAX_RECEIVE_COUNT receives.
    # The jitter keeps a burst from coming back as one.
    doubled = limits.backoff_seconds << min(max(receives - 1, 0), 20)
    return max(1, round(min(doubled, limits.backoff_max_seconds) * (0.75 + 0.25 * jitter)))


def _dead_letter(file: FileTally, message: Message) -> DeadLetter:
    if file.problem:
        reason, detail = file.problem.reason, file.problem.detail
    else:
        listed = ", ".join(f"{position} {reason}" for position, reason in file.rejections[:_SHOWN_REJECTIONS])
        ellipsis = ", ..." if file.rejected > _SHOWN_REJECTIONS else ""
        reason = file.rejection_reason
        detail = f"{file.rejected} of {file.read} records were rejected, by position: {listed}{ellipsis}"
    body = s3_notification(file.ref)
    return DeadLetter(body, reason, detail, message.id, message.receive_count, tuple(file.rejections))
