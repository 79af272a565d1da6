"""Signed requests, judged by a server that computes Signature Version 4 anew from AWS's description of it.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html; nothing here is botocore's.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import re
import threading
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from botocore.credentials import RefreshableCredentials
from requests_aws4auth import AWS4Auth

from infra.local.stack import MISLEADING
from tests.support.certificates import Authority, make_authority
from worker.cloudtrail.records import Record
from worker.opensearch.client import Client
from worker.opensearch.sender import BulkSender
from worker.pipeline.bulk import TLS_FAILURE, DeliveryResult, Outcome, Verdict
from worker.pipeline.documents import Action, IndexNaming, Provenance, to_actions
from worker.pipeline.limits import Partition
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REGION = "eu-central-1"
INDEXED = Outcome(Verdict.INDEXED)


@dataclass(frozen=True)
class Key:
    """One set of credentials that the server knows."""

    id: str = "AKIDEXAMPLE"
    secret: str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    token: str = ""


@dataclass
class Judge:
    """What the server accepts, and what it saw."""

    service: str
    keys: list[Key]
    refusals: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)  # ids of keys
    signed: set[str] = field(default_factory=set)  # headers, of the last request
    on_look: Callable[[], object] = lambda: None

    def look(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
        """Judge a request, and keep count."""
        self.on_look()
        found = self.refusal(method, target, headers, body)
        if found:
            self.refusals.append(found)
        return found

    def refusal(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
        """Why a request is refused, "" if its signature is right."""
        said = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
            r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
            headers.get("authorization", ""),
        )
        if not said:
            return "there is no Authorization of AWS4-HMAC-SHA256"
        id_, day, region, service, names, signature = said.groups()
        key = next((one for one in self.keys if one.id == id_), None)
        if key is None:
            return "the security token included in the request is invalid"
        self.signed = set(names.split(";"))
        moment = headers.get("x-amz-date", "")
        complaints = {
            "the scope is another's": (region, service) != (REGION, self.service),
            "a header that must be signed is not": not {"host", "x-amz-date", "x-amz-content-sha256"} <= self.signed,
            "an x-amz header is not signed": any(one.startswith("x-amz-") for one in set(headers) - self.signed),
            "the time is another": not _is_now(moment) or moment[:8] != day,
            "the token is another": headers.get("x-amz-security-token", "") != key.token,
            "the body is another": headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest(),
        }
        if broken := [text for text, is_so in complaints.items() if is_so]:
            return broken[0]
        request = canonical(method, target, headers, names.split(";"), body)
        if not hmac.compare_digest(signature, signed(key.secret, (day, region, service), moment, request)):
            return "the request signature we calculated does not match the signature you provided"
        self.accepted.append(id_)
        return ""


def _is_now(moment: str) -> bool:
    try:
        then = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(datetime.now(UTC) - then) < timedelta(minutes=5)


def canonical(method: str, target: str, headers: Mapping[str, str], names: list[str], body: bytes) -> str:
    """The canonical request: a path is encoded once more than it was sent, as everywhere but in S3."""
    address = urlsplit(target)
    pairs = sorted(
        (quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~"))
        for name, _, value in (pair.partition("=") for pair in address.query.split("&") if pair)
    )
    lines = [f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names]
    query = "&".join(f"{name}={value}" for name, value in pairs)
    path = quote(address.path or "/", safe="/-_.~")
    return "\n".join([method, path, query, "".join(lines), ";".join(names), hashlib.sha256(body).hexdigest()])


def signed(secret: str, scope: tuple[str, ...], moment: str, request: str) -> str:
    """The signature: a key that is derived by date, region and service, over the request's hash."""
    key = f"AWS4{secret}".encode()
    for part in (*scope, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    where = "/".join((*scope, "aws4_request"))
    text = f"AWS4-HMAC-SHA256\n{moment}\n{where}\n{hashlib.sha256(request.encode()).hexdigest()}"
    return hmac.digest(key, text.encode(), "sha256").hex()


class Cloud(ThreadingHTTPServer):
    """Takes bulk requests of those who may, and answers 403 in AWS's words to the others."""

    daemon_threads = True

    def __init__(self, may: Callable[[str, str, Mapping[str, str], bytes], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.refusal = may
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lines: list[dict[str, Any]] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust the certificate hangs up; that is its answer, not an error of this server's."""


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Cloud

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if refusal := self.server.refusal("POST", self.path, headers, body):
            self._answer(403, {"message": refusal})
            return
        lines = [json.loads(line) for line in gzip.decompress(body).splitlines()]
        self.server.lines += lines
        items = [{"create": {"status": 201}} for _ in lines[::2]]
        self._answer(200, {"errors": False, "items": items})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def serving(server: Cloud) -> Iterator[Cloud]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def cloud(judge: Judge) -> AbstractContextManager[Cloud]:
    """A server that listens to this judge."""
    return serving(Cloud(judge.look))


def some_actions(count: int) -> list[Action]:
    raw = '{"eventID":"x","note":"ünïcode + 100% ~ ok"}'.encode()
    records = [Record(at, b"%d" % at, "2026-01-01T00:00:00Z", raw) for at in range(count)]
    origin = Provenance("s3://b/k", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
    return list(to_actions(records, 0, origin, IndexNaming("cloudtrail", Partition.DAY, "2013-11", "2030", 100)))


def cluster_of(client: Client) -> BulkSender:
    return BulkSender(client, request_seconds=5, retry_seconds=5, max_bytes=1 << 20, in_flight=2, sleep=lambda _: None)


def deliver(cluster: BulkSender, count: int = 3) -> DeliveryResult:
    return cluster.deliver(some_actions(count), lambda: 60.0)


def wired(monkeypatch: pytest.MonkeyPatch, url: str, service: str, key: Key) -> BulkSender:
    """A cluster as the doors make it, from settings and the environment's credentials."""
    for name in (*MISLEADING, "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    variables = {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "TRAILSINK_OPENSEARCH_URL": url,
        "TRAILSINK_OPENSEARCH_AUTH": "sigv4",
        "TRAILSINK_OPENSEARCH_SERVICE": service,
    } | ({"AWS_SESSION_TOKEN": key.token} if key.token else {})
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return cluster_of(make_client(load_settings()))


# The signature


def test_the_judge_knows_a_published_signature() -> None:
    """AWS's own example of a derived key and a signature, so that client and judge cannot be wrong alike."""
    request = (
        "GET\n/\nAction=ListUsers&Version=2010-05-08\n"
        "content-type:application/x-www-form-urlencoded; charset=utf-8\nhost:iam.amazonaws.com\n"
        "x-amz-date:20150830T123600Z\n\ncontent-type;host;x-amz-date\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )

    found = signed(
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ("20150830", "us-east-1", "iam"), "20150830T123600Z", request
    )

    assert found == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"


@pytest.mark.parametrize("path", ["", "/behind/a proxy"], ids=["at the root", "behind a path"])
@pytest.mark.parametrize("token", ["", "FwoGZXIvYXdzEBYaDH+/=token"], ids=["a user's", "a role's"])
@pytest.mark.parametrize("service", ["es", "aoss"])
def test_a_signed_bulk_request_is_accepted(
    monkeypatch: pytest.MonkeyPatch, service: str, token: str, path: str
) -> None:
    """Gzipped, to a port that is not the scheme's, its hash among what is signed, which Serverless insists on."""
    key = Key(token=token)
    judge = Judge(service, [key])
    with cloud(judge) as server:
        cluster = wired(monkeypatch, server.url + quote(path), service, key)

        receipt = deliver(cluster)

    assert judge.refusals == []
    assert receipt.outcomes == [INDEXED] * 3
    assert receipt.stop_reason == ""
    assert len(server.lines) == 6
    assert {"host", "x-amz-content-sha256", "x-amz-date"} <= judge.signed
    assert ("x-amz-security-token" in judge.signed) == bool(token)


@pytest.mark.parametrize("service", ["es", "aoss"])
def test_a_wrong_secret_parks_the_batch_and_rejects_nothing(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    """It is the operator's to mend: the messages go back to the queue, and no record is blamed."""
    judge = Judge(service, [Key()])
    with cloud(judge) as server:
        cluster = wired(monkeypatch, server.url, service, Key(secret="another"))

        receipt = deliver(cluster)

    assert {outcome.verdict for outcome in receipt.outcomes} == {Verdict.UNAVAILABLE}
    assert "403" in receipt.stop_reason
    assert set(judge.refusals) == {"the request signature we calculated does not match the signature you provided"}
    assert len(judge.refusals) <= 2, "it signs in afresh once, and does not insist"
    assert server.lines == []


def test_a_signature_for_the_other_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the judge could be accepting anything."""
    judge = Judge("aoss", [Key()])
    with cloud(judge) as server:
        receipt = deliver(wired(monkeypatch, server.url, "es", Key()))

    assert {outcome.verdict for outcome in receipt.outcomes} == {Verdict.UNAVAILABLE}
    assert set(judge.refusals) == {"the scope is another's"}


# Credentials that rotate


class Clock:
    """A time of day that a test sets."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self, _zone: object = None) -> datetime:
        return self.now


def a_role(clock: Clock, keys: list[Key]) -> RefreshableCredentials:
    """A role's credentials of one hour, as botocore keeps them fresh; each refresh gives the next key."""

    def refresh() -> dict[str, str]:
        key = keys.pop(0)
        until = (clock.now + timedelta(hours=1)).isoformat()
        return {"access_key": key.id, "secret_key": key.secret, "token": key.token, "expiry_time": until}

    first = refresh()
    return RefreshableCredentials(
        first["access_key"],
        first["secret_key"],
        first["token"],
        datetime.fromisoformat(first["expiry_time"]),
        refresh,
        "test",
        time_fetcher=clock,
    )


def signing(url: str, credentials: Callable[[], RefreshableCredentials]) -> BulkSender:
    def sign() -> AWS4Auth:
        return AWS4Auth(region=REGION, service="es", refreshable_credentials=credentials())

    return cluster_of(Client(url, sign_in=sign, ca_file=None, seconds=60))


FIRST = Key("ASIAFIRST", "first-secret", "first-token")
SECOND = Key("ASIASECOND", "second-secret", "second-token")


def test_credentials_that_end_in_mid_run_are_replaced_before_they_are_refused() -> None:
    """A role's last an hour, a consumer and its connections for weeks: no request is lost to the change."""
    clock, judge = Clock(), Judge("es", [FIRST])
    role = a_role(clock, [FIRST, SECOND])
    with cloud(judge) as server:
        cluster = signing(server.url, lambda: role)

        before = deliver(cluster)
        clock.now += timedelta(minutes=59)
        judge.keys = [SECOND]
        after = deliver(cluster)

    assert before.outcomes == after.outcomes == [INDEXED] * 3
    assert judge.accepted == ["ASIAFIRST", "ASIASECOND"]
    assert judge.refusals == []


def test_credentials_that_are_revoked_in_mid_run_cost_one_refusal() -> None:
    """Those that botocore still believes in are read afresh, once, and the batch goes on."""
    clock, judge = Clock(), Judge("es", [FIRST])
    roles = [a_role(clock, [FIRST]), a_role(clock, [SECOND])]
    with cloud(judge) as server:
        cluster = signing(server.url, lambda: roles.pop(0))

        before = deliver(cluster)
        judge.keys = [SECOND]
        after = deliver(cluster)

    assert before.outcomes == after.outcomes == [INDEXED] * 3
    assert judge.accepted == ["ASIAFIRST", "ASIASECOND"]
    assert judge.refusals == ["the security token included in the request is invalid"]


# Whom to trust


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """The cluster's, and another one."""
    folder = tmp_path_factory.mktemp("authorities")
    return make_authority(folder / "private"), make_authority(folder / "another")


@contextmanager
def over_tls(authority: Authority) -> Iterator[str]:
    """Serve over TLS with a certificate of this authority; who signs in, and how, is not looked at."""
    server = Cloud(lambda _method, _target, headers, _body: "" if "authorization" in headers else "nobody")
    server.socket = authority.context().wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server):
        yield server.url.replace("http:", "https:")


SIGN_INS: dict[str, Callable[[], AWS4Auth | tuple[str, str]]] = {
    "signed": lambda: AWS4Auth("AKIDEXAMPLE", "secret", REGION, "es"),
    "basic": lambda: ("ada", "password"),
}
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.mark.parametrize("variable", BUNDLES)
@pytest.mark.parametrize("how", SIGN_INS)
def test_a_bundle_in_the_environment_does_not_hide_the_authority_that_is_set(
    authorities: tuple[Authority, Authority], monkeypatch: pytest.MonkeyPatch, how: str, variable: str
) -> None:
    """Companies set these for all programs; requests would prefer them to what TRAILSINK_OPENSEARCH_CA_FILE says."""
    private, another = authorities
    monkeypatch.setenv(variable, str(another.ca))
    with over_tls(private) as url:
        receipt = deliver(cluster_of(Client(url, sign_in=SIGN_INS[how], ca_file=private.ca, seconds=60)))

    assert receipt.outcomes == [INDEXED] * 3


@pytest.mark.parametrize("variable", BUNDLES)
@pytest.mark.parametrize("how", SIGN_INS)
def test_a_bundle_in_the_environment_does_not_widen_whom_is_trusted(
    authorities: tuple[Authority, Authority], monkeypatch: pytest.MonkeyPatch, how: str, variable: str
) -> None:
    """Whoever names one authority wants no other to be believed; the batch waits for the operator."""
    private, another = authorities
    monkeypatch.setenv(variable, str(private.ca))
    with over_tls(private) as url:
        receipt = deliver(cluster_of(Client(url, sign_in=SIGN_INS[how], ca_file=another.ca, seconds=60)))

    assert {outcome.verdict for outcome in receipt.outcomes} == {Verdict.UNAVAILABLE}
    assert receipt.stop_reason == TLS_FAILURE
