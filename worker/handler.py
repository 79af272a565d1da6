"""The Lambda entry point: an SQS event in, the messages that must stay in the queue out.

The event source mapping must have `ReportBatchItemFailures`, or the response is ignored and everything is deleted.
docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from worker.pipeline.ports import Message
from worker.settings import load_settings
from worker.telemetry import report_lines
from worker.wiring import make_consumer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.aws.lambda_context import LambdaContext
    from worker.pipeline.consumer import Consumer


@cache
def _consumer() -> tuple[Consumer, str | None]:
    """Return the consumer, and the queue's name for metrics, None where there are to be none."""
    # Made at the first invocation, not at import; the consumer keeps connections, and nothing of a batch.
    settings = load_settings()
    return make_consumer(settings), settings.metrics_queue


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, list[dict[str, str]]]:
    """Consume one batch of SQS messages; returns Lambda's partial batch response.

    Raises SetupError when the function's environment is wrong: then the whole batch stays in the queue.
    """
    messages = [_message(record) for record in event.get("Records") or ()]
    if not messages:
        return {"batchItemFailures": []}
    consumer, queue = _consumer()
    result = consumer.consume(messages, lambda: context.get_remaining_time_in_millis() / 1000)
    sys.stdout.write("".join(f"{line}\n" for line in report_lines(result, queue=queue)))
    return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in result.failed]}


def _message(record: Mapping[str, Any]) -> Message:
    receives = record.get("attributes", {}).get("ApproximateReceiveCount", "1")
    return Message(record["messageId"], record["receiptHandle"], record["body"], int(receives))
