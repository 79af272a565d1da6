"""Sends bulk requests until each action has an outcome: one retry policy, one limit on what is in flight."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from opensearchpy.exceptions import OpenSearchException, SSLError, TransportError
from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from worker.cutoff import Cutoff
from worker.errors import IndexUnavailable, SetupError
from worker.opensearch.concurrency import AdaptiveLimiter
from worker.opensearch.responses import overload_signal, parse_error, parse_items
from worker.pipeline.bulk import (
    THROTTLED,
    THROTTLED_BY_AWS,
    TIMEOUT,
    TLS_FAILURE,
    BulkResponse,
    DeliveryResult,
    compress_body,
    is_over_capacity,
)
from worker.pipeline.deadline import DEADLINE
from worker.pipeline.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opensearchpy import OpenSearch
    from tenacity import RetryCallState

    from worker.opensearch.client import Client
    from worker.pipeline.documents import Action

# 26 bytes for each action that went well in place of 200; without the status of every item, positions would be lost.
BULK_PARAMS = {"filter_path": "errors,items.*.status,items.*.error.type"}
BULK_HEADERS = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}

# Seconds before a request is sent again: at random up to the first, doubling up to the maximum.
FIRST_WAIT, MAX_WAIT = 0.5, 20.0


class BulkSender:
    """An index to deliver to; thread-safe.

    `request_seconds` bounds one response, `retry_seconds` all attempts at one request while none of it is accepted. At
    most `in_flight` requests are in flight at once, fewer while the cluster is overloaded.
    """

    def __init__(  # noqa: PLR0913
        self,
        client: Client,
        *,
        request_seconds: float,
        retry_seconds: float,
        max_bytes: int,
        in_flight: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._max_bytes = client, max_bytes
        self._request_seconds, self._retry_seconds = request_seconds, retry_seconds
        self._monotonic, self._sleep = monotonic, sleep
        self._limiter = AdaptiveLimiter(in_flight, monotonic)
        self._exhausted = (-math.inf, "")  # when a request last used up its retry budget, and why
        self._last_accept = -math.inf  # when the cluster last accepted something
        self._thread = threading.local()

    def deliver(self, request: Sequence[Action], remaining: Callable[[], float]) -> DeliveryResult:
        """Send one bulk request until each action has an outcome, or the time or the retry budget is used up."""
        started = self._monotonic()
        delivery = Delivery(request, max_bytes=self._max_bytes)
        budget = _RetryBudget(self, started, remaining)
        attempt = _Attempt(self, delivery, budget)
        try:
            self._send_with_retries(attempt, budget)
        except (IndexUnavailable, SetupError) as cause:  # a password that cannot be read is the operator's to fix
            attempt.stop_reason = str(cause)
            if budget.is_spent():
                self._exhausted = self._monotonic(), attempt.stop_reason
        outcomes = delivery.finish(attempt.stop_reason or delivery.retry_cause)
        return DeliveryResult(
            outcomes,
            attempt.stop_reason,
            attempt.requests,
            attempt.retries,
            attempt.throttled,
            attempt.wire_bytes,
            self._monotonic() - started,
            delivery.unproven,
        )

    def _send_with_retries(self, attempt: _Attempt, budget: _RetryBudget) -> None:
        """Apply the one retry policy towards OpenSearch: jittered exponential, inside the invocation's time."""

        def is_over(state: RetryCallState) -> bool:
            return budget.is_spent() or budget.remaining() <= state.upcoming_sleep

        for round_ in Retrying(
            retry=retry_if_exception_type(IndexUnavailable),
            wait=wait_random_exponential(multiplier=FIRST_WAIT, max=MAX_WAIT),
            stop=is_over,
            sleep=self._sleep,
            reraise=True,
        ):
            with round_:
                attempt.send_ready()

    def is_spent(self, budget_started: float, *, over_capacity: bool) -> bool:
        """Return whether a retry budget that started then is spent.

        After a capacity rejection it restarts whenever the cluster accepts anything: then requests take turns.
        """
        since = max(budget_started, self._last_accept) if over_capacity else budget_started
        return self._monotonic() - since >= self._retry_seconds

    def on_accept(self, accepted_at: float) -> None:
        """Note that the cluster accepted something."""
        self._last_accept = accepted_at

    def exhausted_since(self, started: float) -> str:
        """Return why some request used up its retry budget after `started`; "" when none did."""
        exhausted_at, cause = self._exhausted
        return cause if exhausted_at > started else ""

    def post(
        self, body: bytes, remaining: Callable[[], float], should_split: Callable[[BulkResponse], bool]
    ) -> Posted | None:
        """Send one gzipped body when it gets a slot; every way in which that can end is a response, None is no time.

        `should_split` says whether the body is sent in halves after a response.
        """
        permit = self._limiter.acquire(remaining)
        if permit is None:
            return None
        response = None
        try:
            if remaining() > 0:  # the wait for a slot may have used it up
                response = self._post_signed_in(body, remaining)
        finally:
            overload = overload_signal(response)
            over_capacity = bool(response and overload and is_over_capacity(response))
            # A body that is split was too large by itself: that is no reason for pauses.
            pausing = bool(response and over_capacity and not should_split(response))
            self._limiter.release(permit, overload=overload, over_capacity=pausing)
        if response is None:
            return None
        return Posted(response, permit.acquired_at, self._monotonic(), over_capacity)

    def _post_signed_in(self, body: bytes, remaining: Callable[[], float]) -> BulkResponse:
        response = self._post(body, remaining())
        if response.status in (401, 403) and response.cause not in (THROTTLED_BY_AWS, "cluster_block_exception"):
            self._thread.client = None  # a rotated secret or an expired token: sign in again, once
            response = self._post(body, remaining())
        return response

    def _post(self, body: bytes, seconds: float) -> BulkResponse:
        seconds = min(seconds, self._request_seconds)
        # The client's own timeout is for each read: a response that drips would last for ever.
        with Cutoff(seconds) as cutoff:
            try:
                return self._exchange(body, seconds)
            except SSLError:
                return BulkResponse(0, TIMEOUT if cutoff.is_over else TLS_FAILURE)
            except TransportError as error:
                response = parse_error(error)
                return BulkResponse(0, TIMEOUT) if cutoff.is_over and not response.status else response
            except (OpenSearchException, AttributeError, RecursionError):
                # opensearch-py takes an error that is JSON for an object, and any depth of it for readable.
                return BulkResponse(0, "unreadable_answer")

    def _exchange(self, body: bytes, seconds: float) -> BulkResponse:
        answer = self._connection().transport.perform_request(
            "POST", "/_bulk", params=BULK_PARAMS, body=body, headers=BULK_HEADERS, timeout=max(seconds, 0.001)
        )
        return BulkResponse(200, items=parse_items(answer))

    def _connection(self) -> OpenSearch:
        client: OpenSearch | None = getattr(self._thread, "client", None)
        if client is None:
            client = self._thread.client = self._client.connect()
        return client


class Posted(NamedTuple):
    """A response, when its request got a slot, when it arrived, and whether it says that there was no room."""

    response: BulkResponse
    sent_at: float
    arrived_at: float
    over_capacity: bool


class _RetryBudget:
    """How long one request may be retried; it starts when the request first gets a slot, because queueing is free.

    It holds none of the actions: tenacity's objects refer to themselves, and would keep 5 MiB of them for a while.
    """

    def __init__(self, sender: BulkSender, created: float, remaining: Callable[[], float]) -> None:
        self._sender, self._created, self._remaining = sender, created, remaining
        self.started: float | None = None
        self.over_capacity = False  # of the last response

    @property
    def exhausted_elsewhere(self) -> str:
        """Why another request, sent beside this one, was given up; "" when none was."""
        return self._sender.exhausted_since(self._created)

    def remaining(self) -> float:
        """Return the remaining seconds: none once another request, sent beside this one, was given up."""
        return 0.0 if self.exhausted_elsewhere else self._remaining()

    def is_spent(self) -> bool:
        """Return whether the budget is spent."""
        return self.started is not None and self._sender.is_spent(self.started, over_capacity=self.over_capacity)

    def on_response(self, posted: Posted, *, accepted: bool) -> None:
        """Start the budget with the first response, and restart it when something was accepted."""
        self.over_capacity = posted.over_capacity
        if accepted:
            self._sender.on_accept(posted.arrived_at)
            self.started = posted.arrived_at
        elif self.started is None:
            # A timeout alone must not use the budget up: the indices that a request waited for are there by then.
            self.started = posted.arrived_at if posted.response.cause == TIMEOUT else posted.sent_at


class _Attempt:
    """The rounds of one delivery, and what they cost."""

    def __init__(self, sender: BulkSender, delivery: Delivery, budget: _RetryBudget) -> None:
        self._sender, self._delivery, self._budget = sender, delivery, budget
        self.requests = self.retries = self.throttled = self.wire_bytes = 0
        self.stop_reason = ""

    def send_ready(self) -> None:
        """Send all that can be sent now; raises IndexUnavailable when some of it has to be sent again."""
        is_retry = self._delivery.has_retries
        self._delivery.release_retries()
        while (body := self._delivery.next_body()) is not None:
            if self._budget.remaining() <= 0:
                self._stop_without_time()
                return
            packed = compress_body(body)
            del body  # several may wait for a slot, and the actions hold the same once more
            posted = self._sender.post(packed, self._budget.remaining, self._delivery.should_split)
            if posted is None:
                self._stop_without_time()
                return
            self._budget.on_response(posted, accepted=self._delivery.apply(posted.response))
            self._count(posted.response, packed, is_retry=is_retry)
            if self._delivery.deferred_cause:
                self.stop_reason = self._delivery.deferred_cause  # credentials, policy, address: true for the next, too
                return
        if self._delivery.has_retries:
            raise IndexUnavailable(self._delivery.retry_cause or "refused")

    def _stop_without_time(self) -> None:
        self.stop_reason = self._budget.exhausted_elsewhere or DEADLINE

    def _count(self, response: BulkResponse, packed: bytes, *, is_retry: bool) -> None:
        self.requests += 1
        self.retries += is_retry
        self.throttled += response.status == THROTTLED or any(status == THROTTLED for status, _ in response.items)
        self.wire_bytes += len(packed)
