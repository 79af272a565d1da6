"""MiniStack plus the four SQS calls that it lacks: message move tasks and ListDeadLetterSourceQueues; and two changes.

A number that comes to an event source mapping through a parameter of a template stays text there, and stops its poller.
S3 announces a file in a thread of its own. On a busy machine, a consumer would find the queue empty before that.

Run by its path, as a process of its own. It reaches into private names of MiniStack's SQS, so the version is pinned.
The rules are those of https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
and its neighbours, with one difference: a task without a rate moves everything at once.
"""

import asyncio
import contextlib
import importlib
import json
import time
import uuid
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_A_DEAD_LETTER_QUEUE = "Source queue must be configured as a Dead Letter Queue."
ALREADY_RUNNING = (
    "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
)
NO_SUCH_QUEUE = "The resource that you specified for the SourceArn parameter doesn't exist."
MOST_PER_SECOND = 500

Request = dict[str, Any]
Queue = dict[str, Any]
Message = dict[str, Any]


class CannotMoveError(Exception):
    """A message has nowhere to go; the text is the task's failure reason."""


@dataclass
class MoveTask:
    """One run that moves messages out of a dead-letter queue."""

    source: str
    destination: str | None
    rate: int | None
    to_move: int
    handle: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: int = field(default_factory=lambda: int(time.time() * 1000))
    status: str = "RUNNING"
    moved: int = 0
    failure: str | None = None
    run: asyncio.Task[None] | None = None

    def description(self) -> dict[str, Any]:
        """Return what ListMessageMoveTasks tells; the handle only while it is of use."""
        told = {
            "TaskHandle": self.handle if self.status == "RUNNING" else None,
            "Status": self.status,
            "SourceArn": self.source,
            "DestinationArn": self.destination,
            "MaxNumberOfMessagesPerSecond": self.rate,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure,
            "StartedTimestamp": self.started,
        }
        return {name: value for name, value in told.items() if value is not None}


class MoveTasks:
    """The four calls, as MiniStack's dispatcher wants them: given the request and the queue's URL."""

    def __init__(self, sqs: ModuleType) -> None:
        self._sqs = sqs
        self._reset_queues: Callable[[], None] = sqs.reset
        self._tasks: list[MoveTask] = []  # the newest first, as they are listed

    def install(self) -> None:
        """Add the calls to MiniStack, and to its reset that no task outlives the queues."""
        self._sqs._HANDLERS.update(  # noqa: SLF001 - there is no public way in
            StartMessageMoveTask=self.start,
            ListMessageMoveTasks=self.listed,
            CancelMessageMoveTask=self.cancel,
            ListDeadLetterSourceQueues=self.dead_letter_sources,
        )
        vars(self._sqs)["reset"] = self.reset

    def reset(self) -> None:
        """Drop the queues and all tasks; a running one sees its status and ends."""
        for task in self._tasks:
            task.status = "CANCELLING"
        self._tasks.clear()
        self._reset_queues()

    def start(self, request: Request, _url: str) -> dict[str, Any]:
        """Answer StartMessageMoveTask."""
        source, rate = request["SourceArn"], request.get("MaxNumberOfMessagesPerSecond")
        queue = self._queue(source)
        self._check(source, queue, rate)
        task = MoveTask(source, request.get("DestinationArn"), int(rate) if rate else None, len(queue["messages"]))
        self._tasks.insert(0, task)
        task.run = asyncio.get_running_loop().create_task(self._move_all(task, queue))
        return {"TaskHandle": task.handle}

    def _check(self, source: str, queue: Queue, rate: str | int | None) -> None:
        """Refuse what SQS refuses."""
        if not queue:
            raise self._refusal("ResourceNotFoundException", NO_SUCH_QUEUE, 404)
        if not self._sources(source):
            raise self._refusal("InvalidParameterValue", NOT_A_DEAD_LETTER_QUEUE)
        if rate is not None and not 1 <= int(rate) <= MOST_PER_SECOND:
            raise self._refusal("InvalidParameterValue", f"MaxNumberOfMessagesPerSecond is 1 to {MOST_PER_SECOND}.")
        if any(task.source == source and task.status in ("RUNNING", "CANCELLING") for task in self._tasks):
            raise self._refusal("UnsupportedOperation", ALREADY_RUNNING)

    async def _move_all(self, task: MoveTask, source: Queue) -> None:
        """Move message by message until there is none, or the task is cancelled, or one cannot be moved."""
        try:
            while task.status == "RUNNING" and self._move_next(task, source):  # noqa: ASYNC110 - this is a pace
                await asyncio.sleep(1 / task.rate if task.rate else 0)
        except CannotMoveError as error:
            task.status, task.failure = "FAILED", str(error)
        else:
            task.status = "CANCELLED" if task.status == "CANCELLING" else "COMPLETED"

    def _move_next(self, task: MoveTask, source: Queue) -> bool:
        """Move one message that nobody is working on; return whether there was one."""
        ready = next((found for found in source["messages"] if found["visible_at"] <= time.time()), None)
        if ready is None:
            return False
        target = self._target(task, ready)
        source["messages"].remove(ready)
        target["messages"].append(_as_new(ready))
        task.moved += 1
        self._sqs.esm_wake.set()  # Lambda may be waiting for the target queue
        return True

    def _target(self, task: MoveTask, message: Message) -> Queue:
        """Return the queue asked for, or else the one that the message came from."""
        arn = task.destination or message["sys"].get("DeadLetterQueueSourceArn")
        if arn is None:
            # it was sent here, and not moved here after too many receives
            raise CannotMoveError("CouldNotDetermineMessageSource")
        queue = self._queue(arn)
        if not queue:
            raise CannotMoveError("AWS.SimpleQueueService.NonExistentQueue")
        return queue

    def listed(self, request: Request, _url: str) -> dict[str, Any]:
        """Answer ListMessageMoveTasks."""
        source = request["SourceArn"]
        if not self._queue(source):
            raise self._refusal("ResourceNotFoundException", NO_SUCH_QUEUE, 404)
        mine = [task.description() for task in self._tasks if task.source == source]
        return {"Results": mine[: int(request.get("MaxResults", 1))]}

    def cancel(self, request: Request, _url: str) -> dict[str, Any]:
        """Answer CancelMessageMoveTask."""
        for task in self._tasks:
            if task.handle == request["TaskHandle"] and task.status == "RUNNING":
                task.status = "CANCELLING"
                return {"ApproximateNumberOfMessagesMoved": task.moved}
        raise self._refusal("ResourceNotFoundException", "Task does not exist.", 404)

    def dead_letter_sources(self, request: Request, url: str) -> dict[str, Any]:
        """Answer ListDeadLetterSourceQueues."""
        queue = self._sqs._get_q(request.get("QueueUrl", url))  # noqa: SLF001
        return {"queueUrls": self._sources(queue["attributes"]["QueueArn"])}

    def _sources(self, arn: str) -> list[str]:
        """Return the URLs of this account's queues in this region whose dead letters go to that queue."""
        return [url for url, queue in list(self._sqs._queues.items()) if _dead_letter_target(queue) == arn]  # noqa: SLF001

    def _queue(self, arn: str) -> Queue:
        found: Queue | None = self._sqs._queue_by_arn(arn)  # noqa: SLF001
        return found or {}

    def _refusal(self, code: str, text: str, status: int = 400) -> Exception:
        refusal: Exception = self._sqs._Err(code, text, status)  # noqa: SLF001
        return refusal


def _dead_letter_target(queue: Queue) -> str | None:
    policy: dict[str, str] = {}
    with contextlib.suppress(ValueError):
        policy = json.loads(queue["attributes"].get("RedrivePolicy") or "{}")
    return policy.get("deadLetterTargetArn")


def _as_new(message: Message) -> Message:
    """Return the message as SQS moves it: body and attributes are kept, and all else begins anew."""
    now = time.time()
    system = {**message["sys"], "SentTimestamp": str(int(now * 1000))}
    system.pop("DeadLetterQueueSourceArn", None)
    kept = {name: value for name, value in message.items() if name != "enqueued_at"}
    anew = {"id": str(uuid.uuid4()), "sys": system, "sent_at": now, "visible_at": now}
    return kept | anew | {"receive_count": 0, "receipt_handle": None, "first_receive_at": None}


def fix_concurrency(service: ModuleType) -> None:
    """Make a mapping's MaximumConcurrency a number, whatever it came as."""
    asked = service._sqs_esm_concurrency  # noqa: SLF001

    def concurrency(mapping: dict[str, Any], *rest: Any) -> int:  # noqa: ANN401 - MiniStack's own arguments
        scaling = mapping.get("ScalingConfig") or {}
        if isinstance(scaling.get("MaximumConcurrency"), str):
            scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
        limit: int = asked(mapping, *rest)
        return limit

    service._sqs_esm_concurrency = concurrency  # type: ignore[attr-defined]  # noqa: SLF001


def announce_at_once(service: ModuleType) -> None:
    """Have S3 announce a file before the request that created it is answered."""

    def announce(bucket: str, key: str, event: str, *rest: Any, **members: Any) -> None:  # noqa: ANN401 - MiniStack's own
        if bucket in service._bucket_notifications:  # noqa: SLF001
            sequencer = service._next_event_sequencer(event)  # noqa: SLF001
            service._fire_s3_event(bucket, key, event, *rest, sequencer=sequencer, **members)  # noqa: SLF001

    service._fire_s3_event_async = announce  # type: ignore[attr-defined]  # noqa: SLF001


if __name__ == "__main__":
    announce_at_once(importlib.import_module("ministack.services.s3"))
    fix_concurrency(importlib.import_module("ministack.services.lambda_svc"))
    MoveTasks(importlib.import_module("ministack.services.sqs")).install()
    importlib.import_module("ministack.app").main()
