"""The pipeline against a secured cluster: TLS with a private authority, passwords, and the smallest roles.

The users get their roles as on a managed domain: by the ARN of an IAM role, which is a backend role to the cluster.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

import worker.handler
from infra.local.errors import LocalStackError
from infra.local.secure import ADMIN, DEFAULT_VERSION, SecureNode, secure_layout
from tests.support.cli import TRAILSINK, trailsink
from tests.support.event_files import event, log_file
from tests.support.index_documents import index
from tests.support.signed_trail import SignedTrail, public_key
from worker.cli.main import main
from worker.cli.scheduled_handler import detect_handler
from worker.deploy.needs import NEEDS
from worker.errors import SetupError
from worker.opensearch.reindex.run import DayOutcome, Reindexing, ReindexOptions
from worker.opensearch.roles import AccessFor, grant_access
from worker.opensearch.security import examiner_role, installer_role, loader_role, reindexer_role, role_name
from worker.opensearch.setup import SetupOptions, install
from worker.settings import Settings, load_settings
from worker.verify.keys import write_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

PUBLIC_AUTHORITIES = str(Path(botocore.__file__).with_name("cacert.pem"))
API = "/_plugins/_security/api"
ROLE = "arn:aws:iam::000000000000:role/trailsink-loader"
PIPELINE, INSTALLER, NARROW_INSTALLER, EXAMINER = "pipeline", "installer", "narrow-installer", "examiner"
REINDEXER, TEAM, TEAM_ROLE = "reindexer", "payments", "payments-team"
NARROW = "narrow"  # may do nothing but what a test gives it


@pytest.fixture(scope="module")
def node() -> Iterator[SecureNode]:
    """A real node with the security plugin; the installer may also grant access to others."""
    try:
        secure_layout(DEFAULT_VERSION)
    except LocalStackError as error:
        pytest.skip(f"the security plugin cannot be downloaded: {error}")
    roles = {name: installer_role(retention=False) for name in (INSTALLER, NARROW_INSTALLER)}
    roles[EXAMINER] = examiner_role("t*", retention=False)
    roles[REINDEXER] = reindexer_role("t*")
    with SecureNode(roles=roles, doorkeepers=(INSTALLER,)) as running:
        running.passwords[PIPELINE] = new_password(running, PIPELINE)
        yield running


def new_password(node: SecureNode, user: str, backend_role: str = ROLE) -> str:
    """Give the user a password, and the backend role that an IAM role's requests have on a managed domain."""
    password = f"7x{secrets.token_hex(16)}"
    with logged_in(node, ADMIN) as admin:
        body = {"password": password, "backend_roles": [backend_role]}
        admin.transport.perform_request("PUT", f"{API}/internalusers/{user}", body=body)
    return password


@contextmanager
def logged_in(node: SecureNode, user: str) -> Iterator[OpenSearch]:
    client = OpenSearch(
        [node.url], http_auth=(user, node.passwords[user]), ca_certs=str(node.certificate_authority), timeout=120
    )
    try:
        yield client
    finally:
        client.close()


@dataclass(frozen=True)
class Context:
    """Lambda's context, with plenty of time."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@dataclass(frozen=True)
class Secured:
    """The pipeline's parts, with an administrator who reads indices and changes roles."""

    node: SecureNode
    admin: OpenSearch
    s3: S3Client
    sqs: SQSClient
    prefix: str
    settings: Settings
    patch: pytest.MonkeyPatch
    folder: Path

    def sign_in_as(self, user: str) -> None:
        """Have this process, and those it starts, sign in as this user."""
        password = self.folder / user
        password.write_text(self.node.passwords[user])
        self.patch.setenv("TRAILSINK_OPENSEARCH_USERNAME", user)
        self.patch.setenv("TRAILSINK_OPENSEARCH_PASSWORD_FILE", str(password))

    def put_role(self, cluster: list[str], indices: list[str]) -> None:
        """Change the loader's role to these permissions."""
        role = loader_role(self.prefix)
        role["index_permissions"][0]["allowed_actions"] = indices
        body = role | {"cluster_permissions": cluster}
        self.admin.transport.perform_request("PUT", f"{API}/roles/{role_name(self.prefix)}", body=body)

    def put(self, *events: dict[str, Any]) -> None:
        """Upload a file; the bucket sends its notification."""
        self.s3.put_object(
            Bucket=self.settings.bucket, Key=f"AWSLogs/{uuid.uuid4().hex}.json.gz", Body=log_file(*events)
        )

    def handle(self) -> int:
        """Handle one batch as Lambda does, and delete what the response does not name; returns how many stay."""
        worker.handler._consumer.cache_clear()  # noqa: SLF001 - what a new sandbox does
        received = self.sqs.receive_message(
            QueueUrl=self.settings.queue_url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=20,
            VisibilityTimeout=60,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        messages = received.get("Messages", [])
        assert messages, "the queue is empty"
        names = {"messageId": "MessageId", "receiptHandle": "ReceiptHandle", "body": "Body", "attributes": "Attributes"}
        records = [{name: dict(message)[sqs_name] for name, sqs_name in names.items()} for message in messages]
        response = worker.handler.handler({"Records": records}, Context())
        failed = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.settings.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return len(failed)

    def hits(self) -> list[dict[str, Any]]:
        """All documents in this test's indices, refreshed."""
        self.admin.indices.refresh(index=f"{self.prefix}-*")
        hits: list[dict[str, Any]] = self.admin.search(index=f"{self.prefix}-*", body={"size": 1000})["hits"]["hits"]
        return hits

    def indexed_ids(self) -> set[str]:
        """The event ids of these."""
        return {hit["_source"]["eventID"] for hit in self.hits()}

    def dead_letters(self) -> int:
        return self.depth(self.settings.dead_letter_queue_url)

    def depth(self, url: str) -> int:
        """Messages in a queue, hidden ones included."""
        counts = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"])


@pytest.fixture
def secured(
    node: SecureNode, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Secured]:
    """A cluster without anything of ours, and an environment that reaches it over TLS without a user.

    Companies set bundle variables for all programs, and those bundles do not contain our authority.
    """
    variables = {
        "TRAILSINK_OPENSEARCH_URL": node.url,
        "TRAILSINK_OPENSEARCH_CA_FILE": str(node.certificate_authority),
        "TRAILSINK_RETRY_SECONDS": "1",
        "TRAILSINK_BACKOFF_MAX_SECONDS": "1",
        **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), PUBLIC_AUTHORITIES),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    prefix = environment["TRAILSINK_INDEX_PREFIX"]
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    sqs.purge_queue(QueueUrl=environment["TRAILSINK_QUEUE_URL"])  # of S3's test event
    with logged_in(node, ADMIN) as admin:
        yield Secured(node, admin, s3, sqs, prefix, load_settings(), monkeypatch, tmp_path)
        admin.indices.delete(index=f"{prefix}-*", ignore_unavailable=True)
        # Otherwise the next test's loader would keep these permissions: those on the cluster have no prefix.
        path = f"{API}/rolesmapping/{role_name(prefix)}"
        admin.transport.perform_request("DELETE", path, params={"ignore": 404})


@pytest.fixture
def authorized(secured: Secured) -> Secured:
    """The same, set up, with the loader's role mapped to the backend role, and signed in as a user who has it."""
    list(install(secured.admin, SetupOptions(secured.prefix, replicas=0)))
    list(grant_access(secured.admin, secured.prefix, AccessFor.LOADER, ROLE))
    secured.sign_in_as(PIPELINE)
    return secured


def run_doctor(*words: str) -> dict[str, dict[str, str]]:
    """Run the doctor with this process's user; its findings by check."""
    result = CliRunner().invoke(main, ["doctor", "--json", *words])
    return {finding["check"]: finding for finding in map(json.loads, result.stdout.splitlines())}


def test_the_scheduled_roles_are_enough_and_load_nothing(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as the stack grants it: verify with every byte compared, and detect with a finding."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    trail = SignedTrail(bucket=secured.settings.bucket, ended_at=datetime.now(UTC).replace(microsecond=0))
    trail.ended_at -= timedelta(hours=6)
    trail.hours(5)
    for key, body in trail.objects.items():
        signature = {"signature": trail.signatures[key]} if key in trail.signatures else {}
        secured.s3.put_object(Bucket=trail.bucket, Key=key, Body=body, Metadata=signature)
    secured.s3.put_object(Bucket=trail.bucket, Key="rules/any.yml", Body=ANY_EVENT.encode())
    valid: dict[str, Any] = {
        "validity_start_time": trail.ended_at - timedelta(days=9),
        "validity_end_time": datetime.now(UTC),
    }
    write_keys(tmp_path / "keys.json", [public_key(**valid)])
    list(install(secured.admin, SetupOptions(secured.prefix, replicas=0)))
    secured.sign_in_as(ADMIN)
    assert trailsink("backfill", "--direct", "--yes", "--no-progress").returncode == 0
    secured.hits()
    secured.admin.indices.refresh(index=f"trailsink-files-{secured.prefix}-*")
    secured.sign_in_as(PIPELINE)

    for purpose in (AccessFor.VERIFY, AccessFor.DETECT):
        list(grant_access(secured.admin, secured.prefix, purpose, ROLE))
        if purpose is AccessFor.VERIFY:
            done = trailsink("verify", "--keys", str(tmp_path / "keys.json"), "--deep", "--last", "2d")
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
            assert secured.admin.count(index=f"trailsink-verdicts-{secured.prefix}")["count"] == 1
        else:
            rules = {"rules": f"s3://{trail.bucket}/rules/", "topic": ""}
            assert detect_handler(rules, None)["new_findings"] == len(secured.hits())
        with logged_in(secured.node, PIPELINE) as scheduled, pytest.raises(TransportError, match="403"):
            scheduled.index(index=f"{secured.prefix}-2026-01-01", body={"eventName": "Invented"})
        path = f"{API}/rolesmapping/trailsink-{purpose}-{secured.prefix}"
        secured.admin.transport.perform_request("DELETE", path)


DAY = ("--since", "2026-03-01", "--until", "2026-03-02")
COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "hold": (("add", "a", "--account", "123456789012", "--yes"), ("list",), ("apply",), ("release", "a", "--yes")),
    "search": (("*", *DAY), ("*", *DAY, "--count-by", "requestParameters.bucketName")),
    "explain": (("1a2b3c4d-0000-4000-8000-000000000001",),),
    "report": ((*DAY, "-o", "-"),),
    "cost": ((),),
    "filter": (("test", "FILTER", *DAY), ("suggest", *DAY)),
    "reindex": (("--force", "--yes"), ("--force", "--from-files", "--yes")),
}


def test_the_role_of_each_command_is_enough(authorized: Secured, tmp_path: Path) -> None:
    """As `trailsink permissions COMMAND --cluster` prints it, without what only the ISM plugin knows."""
    id_ = COMMANDS["explain"][0][0]
    authorized.put(event(eventTime="2026-03-01T10:00:00Z", eventID=id_, readOnly=True))
    authorized.handle()
    authorized.hits()  # which refreshes
    selectors = tmp_path / "filter.json"
    selectors.write_text(
        '[{"Name": "loud", "FieldSelectors": [{"Field": "eventName", "Equals": ["GetObject"]}]}]', encoding="utf-8"
    )
    authorized.node.passwords[NARROW] = new_password(authorized.node, NARROW, NARROW)
    authorized.sign_in_as(NARROW)

    for command, calls in COMMANDS.items():
        role = next(need for need in NEEDS if need.command == command).role(authorized.prefix)
        role["cluster_permissions"] = [name for name in role["cluster_permissions"] if "/ism/" not in name]
        for path, body in (("roles", role), ("rolesmapping", {"users": [NARROW]})):
            authorized.admin.transport.perform_request("PUT", f"{API}/{path}/narrow-{authorized.prefix}", body=body)
        for words in calls:
            arguments = [str(selectors) if word == "FILTER" else word for word in words]
            done = CliRunner().invoke(main, [command, *arguments])
            assert done.exit_code == 0, f"{command}: {done.output}"
            assert not any(word in done.stderr for word in ("permission", "403", "cannot", "Warning")), done.stderr

    authorized.admin.transport.perform_request("DELETE", f"{API}/rolesmapping/narrow-{authorized.prefix}")
    authorized.admin.indices.delete(index=f"trailsink-reindexed*{authorized.prefix}*", ignore_unavailable=True)


def test_an_analyst_gets_a_role_by_one_command(authorized: Secured) -> None:
    """On a managed domain, requests to the security API must be signed, which curl alone cannot do."""
    authorized.put(event(eventTime="2026-03-01T10:00:00Z"))
    authorized.handle()
    authorized.hits()  # which refreshes
    analyst, arn = "analyst", "arn:aws:iam::123456789012:role/analyst"
    words = ("permissions", "search", "--cluster", "--put", "--backend-role", arn)
    authorized.sign_in_as(ADMIN)
    granted = [CliRunner().invoke(main, words) for _ in range(2)]
    authorized.node.passwords[analyst] = new_password(authorized.node, analyst, arn)
    authorized.sign_in_as(analyst)

    found = CliRunner().invoke(main, ["search", "*", *DAY])
    refused = CliRunner().invoke(main, words)

    role = f"trailsink-cli-search-{authorized.prefix}"
    assert granted[0].output.splitlines()[0] == f"Access: role {role} created."
    assert granted[1].output.splitlines()[0] == f"Access: role {role} already exists."
    assert (found.exit_code, found.stderr) == (0, "1 event.\n")
    assert refused.exit_code == 1
    assert "OpenSearch did not put the role" in refused.stderr
    authorized.sign_in_as(PIPELINE)


ANY_EVENT = """\
title: Any event
id: 0a0d5f4e-7b35-4a4b-9a0e-0d8f6c5b1a09
level: low
logsource: {product: aws, service: cloudtrail}
detection:
  s: {eventName: '*'}
  condition: s
"""


# Setting up


def test_the_installers_role_is_enough_to_set_up_and_to_grant_the_loader_access(secured: Secured) -> None:
    """With the role that the README lists, and access to the security API. Then the ARN's user can load a file."""
    good = event()
    secured.sign_in_as(INSTALLER)

    result = trailsink("setup", "--replicas", "0", "--loader-role", ROLE)
    secured.sign_in_as(PIPELINE)
    secured.put(good)
    handed_back = secured.handle()

    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(f"Access: {ROLE} has the role now.\n")
    assert handed_back == 0
    assert secured.indexed_ids() == {good["eventID"]}
    assert secured.dead_letters() == 0


def test_each_permission_of_the_installer_is_needed(secured: Secured) -> None:
    """A permission that is not needed can only be misused."""
    whole_role = installer_role(retention=False)
    refused = []
    with logged_in(secured.node, NARROW_INSTALLER) as installer:
        for permission in whole_role["cluster_permissions"]:
            rest = [name for name in whole_role["cluster_permissions"] if name != permission]
            body = whole_role | {"cluster_permissions": rest}
            secured.admin.transport.perform_request("PUT", f"{API}/roles/{NARROW_INSTALLER}", body=body)
            with pytest.raises(SetupError, match=f"refuses with 403: the user or role lacks {permission}"):
                list(install(installer, SetupOptions(secured.prefix, replicas=0)))
            refused.append(permission)
        secured.admin.transport.perform_request("PUT", f"{API}/roles/{NARROW_INSTALLER}", body=whole_role)

        list(install(installer, SetupOptions(secured.prefix, replicas=0)))
        with pytest.raises(SetupError, match=r"did not grant the loader access: it refuses with 403"):
            list(grant_access(installer, secured.prefix, AccessFor.LOADER, ROLE))

    assert refused == whole_role["cluster_permissions"]


# Loading


NEEDED = [
    "indices:data/write/bulk",
    "indices:admin/create",
    "indices:data/write/bulk[s]",
    "indices:data/write/index",
]


def test_the_list_of_needed_permissions_is_complete() -> None:
    """With `cluster:monitor/main` an operator can read the version; loading does not need it."""
    role = loader_role("x")

    granted = role["cluster_permissions"] + role["index_permissions"][0]["allowed_actions"]

    assert sorted(granted) == sorted([*NEEDED, "cluster:monitor/main"])


@pytest.mark.parametrize("permission", NEEDED)
def test_a_missing_permission_hands_the_batch_back_and_restoring_it_loads_the_batch(
    authorized: Secured, permission: str
) -> None:
    """Somebody narrows the role: no event may be lost, or become a dead letter, for that."""
    good = event()
    authorized.put_role(
        [name for name in NEEDED[:1] if name != permission], [name for name in NEEDED[1:] if name != permission]
    )
    authorized.put(good)

    handed_back = authorized.handle()
    waiting = authorized.depth(authorized.settings.queue_url)
    as_loader = run_doctor()["loader's rights"]
    authorized.sign_in_as(ADMIN)
    as_administrator = run_doctor("--loader-role", ROLE)["loader's rights"]
    authorized.sign_in_as(PIPELINE)
    authorized.put_role(NEEDED[:1], NEEDED[1:])
    handed_back_later = authorized.handle()

    assert (handed_back, waiting, handed_back_later) == (1, 1, 0)
    assert as_administrator == {
        "verdict": "fault",
        "check": "loader's rights",
        "evidence": f"{ROLE} lacks {permission} for {authorized.prefix}-* or trailsink-files-{authorized.prefix}-*",
        "fix": f"trailsink setup --loader-role {ROLE}",
    }
    if permission != "indices:data/write/bulk[s]":  # which the server's own check ignores
        assert as_loader["evidence"] == f"{PIPELINE}, who signs in here, lacks {permission}"
    assert authorized.indexed_ids() == {good["eventID"]}
    assert authorized.dead_letters() == 0


def test_a_wrong_certificate_authority_hands_the_batch_back(
    authorized: Secured, capfd: pytest.CaptureFixture[str]
) -> None:
    """The operator must fix a wrong file, and it costs no event. The bundle variables do not hide it."""
    good = event()
    authorized.put(good)
    authorized.patch.setenv("TRAILSINK_OPENSEARCH_CA_FILE", PUBLIC_AUTHORITIES)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        authorized.patch.setenv(name, str(authorized.node.certificate_authority))

    handed_back = authorized.handle()
    log = capfd.readouterr().out
    finding = run_doctor()["cluster"]
    authorized.patch.setenv("TRAILSINK_OPENSEARCH_CA_FILE", str(authorized.node.certificate_authority))
    handed_back_later = authorized.handle()

    assert (handed_back, handed_back_later) == (1, 0)
    assert '"reason":"tls_failure"' in log
    assert finding["verdict"] == "fault"
    assert "tls_failure" in finding["evidence"]
    assert "TRAILSINK_OPENSEARCH_CA_FILE" in finding["fix"]
    assert authorized.indexed_ids() == {good["eventID"]}
    assert authorized.dead_letters() == 0


def test_a_password_that_is_rotated_during_the_run_costs_nothing(authorized: Secured) -> None:
    """Between the change in the cluster and in the secret, batches are refused and wait; nothing is restarted."""
    before, between, after = event(), event(), event()
    node, manager = authorized.node, boto3.client("secretsmanager")

    def secret() -> str:
        return json.dumps({"username": PIPELINE, "password": node.passwords[PIPELINE]})

    arn = manager.create_secret(Name=f"loader-{authorized.prefix}", SecretString=secret())["ARN"]
    with running({"TRAILSINK_OPENSEARCH_SECRET_ARN": arn}) as process:
        authorized.put(before)
        read_until_indexed(process, 1)
        node.passwords[PIPELINE] = new_password(node, PIPELINE)
        authorized.put(between)
        refused = read_until(process, '"reason":"401"')
        manager.put_secret_value(SecretId=arn, SecretString=secret())
        authorized.put(after)
        read_until_indexed(process, 2)
        ended = process.poll()

    assert refused
    assert ended is None
    assert authorized.indexed_ids() == {record["eventID"] for record in (before, between, after)}
    assert authorized.dead_letters() == 0


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read the process's output up to a line with this text."""
    assert process.stdout
    return next(line for line in process.stdout if text in line)


def read_until_indexed(process: subprocess.Popen[str], records: int) -> None:
    """Read the process's output until its batches have indexed this many records."""
    while records > 0:
        records -= json.loads(read_until(process, '"message":"batch"'))["RecordsIndexed"]


@contextmanager
def running(variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """`trailsink run`, until it is killed: a graceful stop would wait for the end of a long poll."""
    environment = os.environ | variables
    with subprocess.Popen([TRAILSINK, "run"], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_role_that_may_only_read_is_enough_for_the_doctor(authorized: Secured) -> None:
    """Nobody on call needs to change anything. With the loader's own password, the doctor names what it lacks."""
    authorized.put(event())
    authorized.handle()
    authorized.indexed_ids()  # refreshes the indices

    as_loader = run_doctor()
    authorized.sign_in_as(EXAMINER)
    as_examiner = run_doctor()

    readable = ("cluster", "health", "shards", "bulk requests", "index template", "mapping", "newest event")
    for check in (*readable, "mapping of each index", "overwritten events", "write blocks"):
        assert as_examiner[check]["verdict"] == "ok", as_examiner[check]
    assert as_examiner["loader's rights"]["verdict"] == "fault"  # this user cannot load
    assert as_loader["loader's rights"]["verdict"] == "ok"
    assert as_loader["index template"]["verdict"] == "not checked"
    assert "indices:admin/index_template/get" in as_loader["index template"]["fix"]


def test_the_doctor_sees_what_a_stolen_loader_credential_did(authorized: Secured) -> None:
    """OpenSearch has no permission to create without replacing; so what was done must show: docs/security.md."""
    authorized.put(event(), event())
    authorized.handle()
    stolen_id = min(hit["_id"] for hit in authorized.hits())
    (index,) = authorized.admin.indices.get(index=f"{authorized.prefix}-*")
    foreign = f"{authorized.prefix}-2099-01-01"
    hidden = {"mappings": {"properties": {"eventName": {"type": "keyword", "index": False, "doc_values": False}}}}

    with logged_in(authorized.node, PIPELINE) as thief:
        thief.index(index=index, id=stolen_id, body={"eventName": "Nothing"})
        thief.indices.create(index=foreign, body=hidden | {"settings": {"index.blocks.write": True}})
        refused: list[Callable[[], object]] = [
            lambda: thief.delete(index=index, id=stolen_id),
            lambda: thief.indices.delete(index=index),
            lambda: thief.search(index=index),
            lambda: thief.indices.put_settings(index=index, body={"index.hidden": True}),
        ]
        for request in refused:
            with pytest.raises(TransportError, match="403"):
                request()
    authorized.hits()  # which refreshes
    authorized.sign_in_as(EXAMINER)
    found = run_doctor()

    assert found["overwritten events"]["verdict"] == "fault"
    assert f"{index}/{stolen_id}" in found["overwritten events"]["evidence"]
    assert found["mapping of each index"]["verdict"] == "fault"
    assert foreign in found["mapping of each index"]["evidence"]
    assert found["write blocks"]["verdict"] == "fault"
    assert foreign in found["write blocks"]["evidence"]


def test_the_doctor_names_a_wrong_password(authorized: Secured) -> None:
    """The password was rotated, and the file was forgotten."""
    (authorized.folder / PIPELINE).write_text("wrong")

    finding = run_doctor()["cluster"]

    assert finding["verdict"] == "fault"
    assert "401" in finding["evidence"]
    assert "wrong" not in json.dumps(finding)


OWN, OTHER = "111111111111", "222222222222"
DAYS = ("2026-03-01", "2026-03-02")


def test_a_team_sees_its_own_accounts_and_a_reindexed_day_keeps_all_rights(authorized: Secured) -> None:
    """Each has the role for its own work only; the alias of a reindexed day opens nothing, and shuts nobody out.

    Whatever the team asks, by the day's name, by the name of the index behind it, or by an event's id.
    """
    parts = IndexedParts(authorized.admin, authorized.prefix)
    for day in DAYS:
        events = [event(recipientAccountId=account, eventTime=f"{day}T10:00:00Z") for account in (OWN, OTHER, OTHER)]
        index(parts, [*events, event(eventTime=f"{day}T10:00:00Z")], day=day)
    with logged_in(authorized.node, REINDEXER) as reindexer:
        until = datetime(2026, 3, 2, tzinfo=UTC)
        (reindexed,) = Reindexing(reindexer, ReindexOptions(authorized.prefix, until=until, force=True)).run()
    authorized.sign_in_as(ADMIN)
    granted = CliRunner().invoke(main, ["roles", TEAM, "--accounts", OWN, "--put", "--backend-role", TEAM_ROLE])
    authorized.node.passwords[TEAM] = new_password(authorized.node, TEAM, TEAM_ROLE)
    foreign = next(hit for hit in authorized.hits() if hit["_source"].get("recipientAccountId") == OTHER)

    assert reindexed.outcome is DayOutcome.REINDEXED
    assert granted.exit_code == 0, granted.output
    with logged_in(authorized.node, TEAM) as team:
        copy = f"trailsink-reindexed1-{authorized.prefix}-{DAYS[0]}"
        for names, count in ((f"{authorized.prefix}-*", 2), (f"{authorized.prefix}-{DAYS[0]}", 1), (copy, 1)):
            aggs = {"accounts": {"terms": {"field": "recipientAccountId", "missing": "none"}}}
            response = team.search(index=names, body={"size": 100, "aggs": aggs})
            buckets = response["aggregations"]["accounts"]["buckets"]
            assert {hit["_source"]["recipientAccountId"] for hit in response["hits"]["hits"]} == {OWN}
            assert [(bucket["key"], bucket["doc_count"]) for bucket in buckets] == [(OWN, count)]
            multi = team.msearch(body=[{"index": names}, {"query": {"match_all": {}}}])
            assert multi["responses"][0]["hits"]["total"]["value"] == count
        with pytest.raises(TransportError) as unseen:
            team.get(index=foreign["_index"], id=foreign["_id"])
        assert unseen.value.status_code == 404
        with pytest.raises(TransportError) as unwritten:
            team.index(index=f"{authorized.prefix}-{DAYS[0]}", body={})
        assert unwritten.value.status_code == 403
    authorized.sign_in_as(TEAM)
    lines = CliRunner().invoke(main, ["search", "*", "--json", "--since", DAYS[0], "--until", "2026-03-03"])
    assert {json.loads(line)["recipientAccountId"] for line in lines.stdout.splitlines()} == {OWN}, lines.output
    authorized.sign_in_as(PIPELINE)
    authorized.put(event(eventTime=f"{DAYS[0]}T11:00:00Z", recipientAccountId=OWN))
    assert authorized.handle() == 0
    assert len(authorized.hits()) == 9
    authorized.admin.indices.delete(index=copy)


@dataclass(frozen=True)
class IndexedParts:
    """What test events are written with."""

    opensearch: OpenSearch
    prefix: str
