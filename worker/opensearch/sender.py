"""OpenSearch: connections, and bulk requests until each action has an outcome."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from opensearchpy import OpenSearch, RequestsHttpConnection, Urllib3HttpConnection
from opensearchpy.exceptions import OpenSearchException, SerializationError, SSLError, TransportError
from opensearchpy.serializer import JSONSerializer
from requests_aws4auth import AWS4Auth
from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from worker.errors import IndexUnavailable, SetupError
from worker.opensearch.concurrency import Gate
from worker.pipeline.bulk import (
    CREATED,
    THROTTLED_BY_AWS,
    TLS_FAILURE,
    Answer,
    Delivery,
    Receipt,
    compressed,
    is_crowded,
    is_strained,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tenacity import RetryCallState

    from worker.pipeline.documents import Action

# 26 bytes for each action that went well in place of 200; without the status of every item, positions would be lost.
BULK_PARAMS = {"filter_path": "errors,items.*.status,items.*.error.type"}
BULK_HEADERS = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}

# Seconds before a request is asked again: at random up to the first, doubling up to the longest.
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0

# The client logs a line per request at INFO, whole bodies at DEBUG, and each of our retries as a warning.
logging.getLogger("opensearch").setLevel(logging.CRITICAL)


class _SignedConnection(RequestsHttpConnection):
    """RequestsHttpConnection that obeys its own `ca_certs`.

    With REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE in the environment, requests prefers those to what the session says
    (github.com/psf/requests/issues/3829).
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - handed through
        super().__init__(**options)
        self.session.trust_env = False


class _Answers(JSONSerializer):
    """Reads answers in a third of the time that `json` takes: a bulk request's has an item for each document."""

    def loads(self, s: str) -> Any:  # noqa: ANN401 - a foreign answer
        try:
            return msgspec.json.decode(s)
        except (msgspec.DecodeError, RecursionError) as cause:
            raise SerializationError(s, cause) from cause


class Client:
    """How to reach one cluster. `sign_in` returns what `http_auth` takes, afresh whenever it is asked.

    The client's own retries are switched off: tenacity is the one retry layer, so attempts add up, not multiply.
    """

    def __init__(
        self,
        url: str,
        *,
        sign_in: Callable[[], AWS4Auth | tuple[str, str] | None],
        ca_file: Path | None,
        seconds: float,
    ) -> None:
        self._url, self._sign_in, self._ca_file, self._seconds = url, sign_in, ca_file, seconds

    def connect(self) -> OpenSearch:
        """Open a client of one connection; AWS4Auth is not thread-safe, so each thread has its own."""
        auth = self._sign_in()
        tls: dict[str, Any] = {"use_ssl": self._url.startswith("https://")}
        if tls["use_ssl"]:
            tls |= {"verify_certs": True} | ({"ca_certs": str(self._ca_file)} if self._ca_file else {})
        return OpenSearch(
            [self._url],
            http_auth=auth,
            connection_class=_SignedConnection if isinstance(auth, AWS4Auth) else Urllib3HttpConnection,
            timeout=self._seconds,
            max_retries=0,
            retry_on_status=(),
            retry_on_timeout=False,
            serializer=_Answers(),
            **tls,
        )


class Cluster:
    """An index to deliver to; safe to use from several threads.

    `request_seconds` bounds one answer, `retry_seconds` all attempts at one request while nothing of it is taken; at
    most `in_flight` requests are under way at once, fewer while the cluster is strained.
    """

    def __init__(  # noqa: PLR0913
        self,
        client: Client,
        *,
        request_seconds: float,
        retry_seconds: float,
        max_bytes: int,
        in_flight: int,
        tick: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._max_bytes = client, max_bytes
        self._request_seconds, self._retry_seconds = request_seconds, retry_seconds
        self._tick, self._sleep = tick, sleep
        self._gate = Gate(in_flight, tick)
        self._gave_up = (-math.inf, "")  # when a request last used up its patience, and why
        self._took = -math.inf  # when the cluster last took something
        self._mine = threading.local()

    def deliver(self, request: Sequence[Action], left: Callable[[], float]) -> Receipt:
        """Send one bulk request until each action has an outcome, or the time or the patience is over."""
        began = self._tick()
        delivery = Delivery(request, max_bytes=self._max_bytes)
        post = _Posting(self, delivery, began, left)
        try:
            self._patience()(_Posting.round, post)
        except (IndexUnavailable, SetupError) as cause:  # a sign-in that cannot be read is the operator's to mend
            post.halt = str(cause)
            if self.used_up(post):
                self._gave_up = self._tick(), post.halt
        outcomes = delivery.give_up(post.halt or delivery.cause)
        return Receipt(
            outcomes, post.halt, post.requests, post.retries, post.throttled, post.wire_bytes, self._tick() - began
        )

    def _patience(self) -> Retrying:
        """Build the one retry policy towards OpenSearch: jittered exponential, inside the invocation's clock."""

        def over(state: RetryCallState) -> bool:
            # Not from a closure: tenacity's objects refer to themselves, and would keep 5 MiB of actions for a while.
            post: _Posting = state.args[0]
            return self.used_up(post) or post.left() <= state.upcoming_sleep

        return Retrying(
            retry=retry_if_exception_type(IndexUnavailable),
            wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
            stop=over,
            sleep=self._sleep,
            reraise=True,
        )

    def used_up(self, post: _Posting) -> bool:
        """Say whether the patience with a request is over.

        It begins with the first turn, since to wait for it is no retry, and anew whenever something is taken: of the
        request itself, or of those beside it when it was refused for want of room, since then they take turns.
        """
        if post.tried_since is None:
            return False
        since = max(post.tried_since, self._took) if post.crowded else post.tried_since
        return self._tick() - since >= self._retry_seconds

    def took(self, when: float) -> None:
        """Note that the cluster took something."""
        self._took = when

    def gave_up(self, since: float) -> str:
        """Say why some request used up its patience since then; "" when none did."""
        when, cause = self._gave_up
        return cause if when > since else ""

    def post(self, body: bytes, left: Callable[[], float], is_halved: Callable[[Answer], bool]) -> Posted | None:
        """Send one body, gzipped, when its turn comes; every way in which that can end is an Answer, None is no time.

        `is_halved` says whether the body comes again in halves after an answer.
        """
        entered = self._gate.enter(left)
        if entered is None:
            return None
        answer = None
        try:
            seconds = left()  # the wait for a place may have used it up
            if seconds > 0:
                answer = self._post_signed(body, seconds)
        finally:
            strained = _strained(answer)
            crowded = bool(answer and strained and is_crowded(answer))
            self._gate.leave(entered, strained=strained, crowded=bool(answer and crowded and not is_halved(answer)))
        return Posted(answer, entered.at, self._tick(), crowded) if answer else None

    def _post_signed(self, body: bytes, seconds: float) -> Answer:
        answer = self._post(body, seconds)
        if answer.status in (401, 403) and answer.cause not in (THROTTLED_BY_AWS, "cluster_block_exception"):
            self._mine.client = None  # a rotated secret or an expired token: sign in afresh, once
            answer = self._post(body, seconds)
        return answer

    def _post(self, body: bytes, seconds: float) -> Answer:
        try:
            given = self._connection().transport.perform_request(
                "POST",
                "/_bulk",
                params=BULK_PARAMS,
                body=body,
                headers=BULK_HEADERS,
                timeout=min(seconds, self._request_seconds),
            )
        except SSLError:
            return Answer(0, TLS_FAILURE)
        except TransportError as error:
            return _answer_of_error(error)
        except (OpenSearchException, AttributeError, RecursionError):
            # opensearch-py takes a refusal that is JSON for an object, and any depth of it for readable.
            return Answer(0, "unreadable_answer")
        return Answer(200, items=_items(given))

    def _connection(self) -> OpenSearch:
        client: OpenSearch | None = getattr(self._mine, "client", None)
        if client is None:
            client = self._mine.client = self._client.connect()
        return client


class Posted(NamedTuple):
    """An answer, when its request's turn had come, when it came, and whether it says that there was no room."""

    answer: Answer
    turn: float
    came: float
    crowded: bool


class _Posting:
    """The rounds of one delivery, and what they cost."""

    def __init__(self, cluster: Cluster, delivery: Delivery, began: float, left: Callable[[], float]) -> None:
        self._cluster, self._delivery, self._began, self._left = cluster, delivery, began, left
        self.requests = self.retries = self.throttled = self.wire_bytes = 0
        self.halt = ""
        self.tried_since: float | None = None  # patience begins here
        self.crowded = False  # refused last for want of room

    def left(self) -> float:
        """Return the seconds that are left: none once another request, sent beside this one, was given up."""
        return 0.0 if self._cluster.gave_up(self._began) else self._left()

    def round(self) -> None:
        """Send all that can be sent now; raises IndexUnavailable when some of it has to be asked again."""
        again = self._delivery.waiting
        self._delivery.resume()
        while (body := self._delivery.next_body()) is not None:
            if self.left() <= 0:
                self._end_without_time()
                return
            packed = compressed(body)
            del body  # several may wait for their turn, and the actions hold the same once more
            posted = self._cluster.post(packed, self.left, self._delivery.is_halved)
            if posted is None:
                self._end_without_time()
                return
            answer = posted.answer
            self.crowded = posted.crowded
            if self._delivery.settle(answer):
                self._cluster.took(posted.came)
                self.tried_since = posted.came
            elif self.tried_since is None:
                self.tried_since = posted.turn
            self._count(answer, packed, again=again)
            if self._delivery.parked:
                self.halt = self._delivery.parked  # credentials, policy, address: the next would fare no better
                return
        if self._delivery.waiting:
            raise IndexUnavailable(self._delivery.cause or "refused")

    def _end_without_time(self) -> None:
        self.halt = self._cluster.gave_up(self._began) or "deadline"

    def _count(self, answer: Answer, packed: bytes, *, again: bool) -> None:
        self.requests += 1
        self.retries += again
        self.throttled += answer.status == 429 or any(status == 429 for status, _ in answer.items)
        self.wire_bytes += len(packed)


def _strained(answer: Answer | None) -> bool | None:
    """Say whether an answer is a sign of strain; None when there is none, or a refusal at the door (403, 413)."""
    if answer is None:
        return None
    return is_strained(answer) or (False if answer.items else None)


_ALL_WELL = {"create": {"status": CREATED[0]}}


def _items(given: Any) -> tuple[tuple[int, str], ...]:  # noqa: ANN401 - a foreign answer
    """Read the items of a bulk answer; () when it is none, which settles as a failed request."""
    try:
        if given["items"] == [_ALL_WELL] * len(given["items"]):
            return (CREATED,) * len(given["items"])
        items = [next(iter(item.values())) for item in given["items"]]
        return tuple((int(item["status"]), str(item.get("error", {}).get("type", ""))) for item in items)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return ()


def _answer_of_error(error: TransportError) -> Answer:
    """Read status and error type of a refused request; the text of a refusal is looked at, never kept."""
    if not isinstance(error.status_code, int):  # "N/A" or "TIMEOUT": there was no answer
        return Answer(0, "timeout" if error.status_code == "TIMEOUT" else "no_connection")
    info = error.info
    if error.status_code == 403 and "throttled" in str(info).lower():
        return Answer(403, THROTTLED_BY_AWS)
    if isinstance(info, str):
        try:
            info = msgspec.json.decode(info)
        except (msgspec.DecodeError, RecursionError):
            info = None
    match info:
        case {"error": {"type": str(kind), "reason": str(reason)}}:
            return Answer(error.status_code, kind, memory=_memory(reason))
        case {"error": {"type": str(kind)}}:
            return Answer(error.status_code, kind)
    return Answer(error.status_code)


def _memory(reason: str) -> int:
    """Read from a refusal how many bytes the node, or a shard, has for requests under way; 0 when it does not say.

    As OpenSearch's IndexingPressure.java and ShardIndexingPressure.java write it.
    """
    limits = re.findall(r"max_coordinating_and_primary_bytes=(\d{1,18})(?!\d)", reason)
    return min(map(int, limits), default=0)
