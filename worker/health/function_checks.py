"""The doctor's checks of the Lambda function that consumes the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.health.check import check
from worker.health.findings import Judgement
from worker.health.observe import require
from worker.health.queue_checks import set_attributes
from worker.health.rules import judge_mappings, judge_reserved_concurrency, update_mapping
from worker.health.snapshot import Unobserved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.health.aws_facts import AwsFacts

# Six times the timeout leaves room for throttled tries:
# docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
_VISIBILITY_FACTOR = 6


class FunctionChecks:
    """The event source mapping of the queue, and how it feeds its function."""

    def __init__(self, facts: AwsFacts) -> None:
        self._facts = facts

    def role(self) -> str:
        """Return the ARN by which the cluster knows the function.

        It is "" where there is no function, where it signs in with a password, and where that cannot be checked.
        """
        function = self._facts.function
        if isinstance(function, Unobserved) or function is None:
            return ""
        variables = function.environment
        has_password = variables.get("TRAILSINK_OPENSEARCH_AUTH") == "basic" or any(
            variables.get(f"TRAILSINK_OPENSEARCH_{name}") for name in ("SECRET_ARN", "USERNAME")
        )
        return "" if has_password else function.role

    @check("event source mapping")
    def mapping(self) -> Iterator[Judgement]:
        """Check that a mapping feeds a function."""
        yield judge_mappings(require(self._facts.mappings))

    @check("ReportBatchItemFailures")
    def partial_failures(self) -> Iterator[Judgement]:
        """Check that the function may hand back a part of a batch."""
        mappings = require(self._facts.mappings)
        if not mappings:
            return
        if mappings[0].reports_batch_item_failures:
            yield Judgement.ok("on")
        else:
            fix = f"{update_mapping(mappings[0])} --function-response-types ReportBatchItemFailures"
            yield Judgement.fault("off: what the function hands back is deleted", fix)

    @check("visibility timeout")
    def visibility(self) -> Iterator[Judgement]:
        """Compare the visibility timeout of a message with the timeout of the function."""
        function = require(self._facts.function)
        if function is None:
            return
        queue = require(self._facts.source_queue)
        minimum = _VISIBILITY_FACTOR * function.timeout_seconds
        evidence = f"{queue.visibility_seconds} s, the function's timeout is {function.timeout_seconds} s"
        if queue.visibility_seconds >= minimum:
            yield Judgement.ok(evidence)
        else:
            yield Judgement.fault(evidence, set_attributes(queue.url, VisibilityTimeout=str(minimum)))

    @check("reserved concurrency")
    def concurrency(self) -> Iterator[Judgement]:
        """Check that the mapping does not invoke the function more often at once than it may run."""
        mappings = require(self._facts.mappings)
        if mappings:
            yield judge_reserved_concurrency(mappings[0], require(self._facts.reserved_concurrency))
