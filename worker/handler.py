"""The Lambda entry point: an SQS event in, the messages that must stay in the queue out.

The event source mapping must have `ReportBatchItemFailures`, or the response is ignored and everything is deleted.
docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from worker.errors import SetupError
from worker.pipeline.ports import Message
from worker.settings import load_settings
from worker.telemetry import report_lines
from worker.wiring import FIFO_ADVICE, FIFO_SUFFIX, make_consumer

if TYPE_CHECKING:
    from worker.aws.lambda_context import LambdaContext
    from worker.pipeline.consumer import Consumer


@cache
def _consumer() -> tuple[Consumer, str | None]:
    """Return the consumer, and the queue's name for metrics, None where there are to be none."""
    # Made at the first invocation, not at import; the consumer keeps connections, and nothing of a batch.
    settings = load_settings()
    return make_consumer(settings), settings.metrics_queue


def handler(event: object, context: LambdaContext) -> dict[str, list[dict[str, str]]]:
    """Consume one batch of SQS messages; returns Lambda's partial batch response.

    Raises SetupError when the function's environment is wrong: then the whole batch stays in the queue. Raises it also
    for any event but a batch of SQS messages. A success would mean that its file is loaded.
    """
    messages = _parse_event(event)
    if not messages:
        return {"batchItemFailures": []}
    consumer, queue = _consumer()
    result = consumer.consume(messages, lambda: context.get_remaining_time_in_millis() / 1000)
    sys.stdout.write("".join(f"{line}\n" for line in report_lines(result, queue=queue)))
    return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in result.failed]}


def _parse_event(event: object) -> list[Message]:
    match event:
        case {"Records": [*records]}:
            return [_parse_record(record) for record in records]
    raise _not_invoked_by_its_queue(event)


def _parse_record(record: object) -> Message:
    match record:
        case {"eventSourceARN": str(arn)} if arn.endswith(FIFO_SUFFIX):
            raise SetupError(f"The function's event source {FIFO_ADVICE}")
        case {"messageId": str(id_), "receiptHandle": str(receipt_handle), "body": str(body)}:
            return Message(id_, receipt_handle, body, _receive_count(record))
    raise _not_invoked_by_its_queue(record)


def _receive_count(record: object) -> int:
    match record:
        case {"attributes": {"ApproximateReceiveCount": str(receives)}}:
            return int(receives)
    return 1  # emulators leave it out


def _not_invoked_by_its_queue(event: object) -> SetupError:
    """Return the error for an event of another source. The console's test event is one, too."""
    match event:
        case {"eventSource": "aws:s3"}:
            source = "S3"
        case {"EventSource": "aws:sns"}:
            source = "SNS"
        case {"detail-type": _}:
            source = "EventBridge"
        case {"awslogs": _}:
            source = "CloudWatch Logs"
        case _:
            source = "something else"
    return SetupError(
        f"The function was invoked by {source}, not by its queue, so nothing was loaded: send the notifications to the"
        " SQS queue, and make the queue the function's event source, with ReportBatchItemFailures."
    )
