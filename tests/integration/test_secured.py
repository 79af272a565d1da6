"""The pipeline against a cluster that asks who one is: TLS by a private authority, passwords, and the smallest roles.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

import worker.handler
from infra.local.errors import LocalStackError
from infra.local.secure import ADMIN, DEFAULT_VERSION, SecureNode, secure_layout
from tests.support.cli import TRAILSINK, trailsink
from tests.support.event_files import event, log_file
from worker.cli.main import main
from worker.errors import SetupError
from worker.opensearch.security import examiner_role, grant_loader_access, installer_role, loader_role, role_name
from worker.opensearch.setup import SetupOptions, install
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

PUBLIC_AUTHORITIES = str(Path(botocore.__file__).with_name("cacert.pem"))
API = "/_plugins/_security/api"
ROLE = "arn:aws:iam::000000000000:role/trailsink-loader"
PIPELINE, INSTALLER, NARROW_INSTALLER, EXAMINER = "pipeline", "installer", "narrow-installer", "examiner"


@pytest.fixture(scope="module")
def node() -> Iterator[SecureNode]:
    """A real node with the security plugin; the installer may also let others in."""
    try:
        secure_layout(DEFAULT_VERSION)
    except LocalStackError as error:
        pytest.skip(f"the security plugin cannot be had from Maven: {error}")
    roles = {name: installer_role(retention=False) for name in (INSTALLER, NARROW_INSTALLER)}
    roles[EXAMINER] = examiner_role("t*", retention=False)
    with SecureNode(roles=roles, doorkeepers=(INSTALLER,)) as running:
        running.passwords[PIPELINE] = new_password(running, PIPELINE)
        yield running


def new_password(node: SecureNode, user: str) -> str:
    """Give the user a password, and the backend role that an IAM role's requests have on a managed domain."""
    password = f"7x{secrets.token_hex(16)}"
    with logged_in(node, ADMIN) as admin:
        body = {"password": password, "backend_roles": [ROLE]}
        admin.transport.perform_request("PUT", f"{API}/internalusers/{user}", body=body)
    return password


@contextmanager
def logged_in(node: SecureNode, user: str) -> Iterator[OpenSearch]:
    client = OpenSearch(
        [node.url], http_auth=(user, node.passwords[user]), ca_certs=str(node.certificate_authority), timeout=30
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
    """The pipeline's parts, with an administrator to look and to give and take rights."""

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
        """Upload a file; the bucket announces it."""
        self.s3.put_object(
            Bucket=self.settings.bucket, Key=f"AWSLogs/{uuid.uuid4().hex}.json.gz", Body=log_file(*events)
        )

    def handle(self) -> int:
        """Do what Lambda does with one batch: the handler's answer says what is deleted; returns what is not."""
        worker.handler._consumer.cache_clear()  # noqa: SLF001 - what a new sandbox does
        found = self.sqs.receive_message(
            QueueUrl=self.settings.queue_url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=20,
            VisibilityTimeout=60,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        messages = found.get("Messages", [])
        assert messages, "the queue is empty"
        names = {"messageId": "MessageId", "receiptHandle": "ReceiptHandle", "body": "Body", "attributes": "Attributes"}
        records = [{ours: dict(one)[theirs] for ours, theirs in names.items()} for one in messages]
        answer = worker.handler.handler({"Records": records}, Context())
        failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
        for one in messages:
            if one["MessageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.settings.queue_url, ReceiptHandle=one["ReceiptHandle"])
        return len(failed)

    def found(self) -> set[str]:
        """The ids of all events in this test's indices."""
        self.admin.indices.refresh(index=f"{self.prefix}-*")
        hits = self.admin.search(index=f"{self.prefix}-*", body={"size": 1000})["hits"]["hits"]
        return {hit["_id"] for hit in hits}

    def letters(self) -> int:
        return self.depth(self.settings.dead_letter_queue_url)

    def depth(self, url: str) -> int:
        """Messages in a queue, hidden ones included."""
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])


@pytest.fixture
def secured(
    node: SecureNode, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Secured]:
    """A cluster without anything of ours, and an environment that reaches it over TLS but signs in as nobody.

    Companies set bundle variables for all programs, and what they name does not know our authority.
    """
    here = {
        "TRAILSINK_OPENSEARCH_URL": node.url,
        "TRAILSINK_OPENSEARCH_CA_FILE": str(node.certificate_authority),
        "TRAILSINK_RETRY_SECONDS": "1",
        "TRAILSINK_BACKOFF_MAX_SECONDS": "1",
        **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), PUBLIC_AUTHORITIES),
    }
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    prefix = environment["TRAILSINK_INDEX_PREFIX"]
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    sqs.purge_queue(QueueUrl=environment["TRAILSINK_QUEUE_URL"])  # of S3's test event
    with logged_in(node, ADMIN) as admin:
        yield Secured(node, admin, s3, sqs, prefix, load_settings(), monkeypatch, tmp_path)
        admin.indices.delete(index=f"{prefix}-*", ignore_unavailable=True)
        # Or the next test's loader would have this one's rights as well: a right on the cluster knows no prefix.
        path = f"{API}/rolesmapping/{role_name(prefix)}"
        admin.transport.perform_request("DELETE", path, params={"ignore": 404})


@pytest.fixture
def admitted(secured: Secured) -> Secured:
    """The same, set up, with the loader's role mapped to the backend role, and signed in as who has it."""
    list(install(secured.admin, SetupOptions(secured.prefix, replicas=0)))
    list(grant_loader_access(secured.admin, secured.prefix, ROLE))
    secured.sign_in_as(PIPELINE)
    return secured


def examine(*words: str) -> dict[str, dict[str, str]]:
    """Ask the doctor, who signs in as this process does; its findings by check."""
    done = CliRunner().invoke(main, ["doctor", "--json", *words])
    return {one["check"]: one for one in map(json.loads, done.stdout.splitlines())}


# Setting up


def test_setup_does_with_the_installers_role_and_lets_the_loader_in(secured: Secured) -> None:
    """Exactly what the README lists, and the door to the security API; then a file is found by way of the ARN."""
    good = event()
    secured.sign_in_as(INSTALLER)

    done = trailsink("setup", "--replicas", "0", "--loader-role", ROLE)
    secured.sign_in_as(PIPELINE)
    secured.put(good)
    kept = secured.handle()

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"Access: {ROLE} has the role now.\n")
    assert kept == 0
    assert secured.found() == {good["eventID"]}
    assert secured.letters() == 0


def test_each_permission_of_the_installer_is_needed(secured: Secured) -> None:
    """A list that is longer than it must be is a list of rights to steal."""
    all_of_it = installer_role(retention=False)
    refused = []
    with logged_in(secured.node, NARROW_INSTALLER) as installer:
        for permission in all_of_it["cluster_permissions"]:
            rest = [one for one in all_of_it["cluster_permissions"] if one != permission]
            body = all_of_it | {"cluster_permissions": rest}
            secured.admin.transport.perform_request("PUT", f"{API}/roles/{NARROW_INSTALLER}", body=body)
            with pytest.raises(SetupError, match=f"refuses with 403: the user or role lacks {permission}"):
                list(install(installer, SetupOptions(secured.prefix, replicas=0)))
            refused.append(permission)
        secured.admin.transport.perform_request("PUT", f"{API}/roles/{NARROW_INSTALLER}", body=all_of_it)

        list(install(installer, SetupOptions(secured.prefix, replicas=0)))
        with pytest.raises(SetupError, match=r"refuses with 403 to let the loader in"):
            list(grant_loader_access(installer, secured.prefix, ROLE))

    assert refused == all_of_it["cluster_permissions"]


# Loading


NEEDED = [
    "indices:data/write/bulk",
    "indices:admin/create",
    "indices:data/write/bulk[s]",
    "indices:data/write/index",
]


def test_no_needed_permission_is_forgotten_here() -> None:
    """`cluster:monitor/main` lets an operator ask with the loader's own password; loading does without."""
    role = loader_role("x")

    granted = role["cluster_permissions"] + role["index_permissions"][0]["allowed_actions"]

    assert sorted(granted) == sorted([*NEEDED, "cluster:monitor/main"])


@pytest.mark.parametrize("permission", NEEDED)
def test_a_missing_permission_parks_the_batch_and_giving_it_back_loads_it(admitted: Secured, permission: str) -> None:
    """Somebody narrows the role: no event may be lost or called poison for that."""
    good = event()
    admitted.put_role(
        [one for one in NEEDED[:1] if one != permission], [one for one in NEEDED[1:] if one != permission]
    )
    admitted.put(good)

    kept = admitted.handle()
    waiting = admitted.depth(admitted.settings.queue_url)
    told_itself = examine()["loader's rights"]
    admitted.sign_in_as(ADMIN)
    told_an_administrator = examine("--loader-role", ROLE)["loader's rights"]
    admitted.sign_in_as(PIPELINE)
    admitted.put_role(NEEDED[:1], NEEDED[1:])
    again = admitted.handle()

    assert (kept, waiting, again) == (1, 1, 0)
    assert told_an_administrator == {
        "verdict": "fault",
        "check": "loader's rights",
        "evidence": f"{ROLE} lacks {permission} for {admitted.prefix}-*",
        "fix": f"trailsink setup --loader-role {ROLE}",
    }
    if permission != "indices:data/write/bulk[s]":  # of which the server's own check knows nothing
        assert told_itself["evidence"] == f"{PIPELINE}, who signs in here, lacks {permission}"
    assert admitted.found() == {good["eventID"]}
    assert admitted.letters() == 0


def test_an_authority_that_did_not_sign_parks_the_batch(admitted: Secured, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong file is the operator's to mend, and costs no event; the bundle variables do not mend it by chance."""
    good = event()
    admitted.put(good)
    admitted.patch.setenv("TRAILSINK_OPENSEARCH_CA_FILE", PUBLIC_AUTHORITIES)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        admitted.patch.setenv(name, str(admitted.node.certificate_authority))

    kept = admitted.handle()
    said = capfd.readouterr().out
    told = examine()["cluster"]
    admitted.patch.setenv("TRAILSINK_OPENSEARCH_CA_FILE", str(admitted.node.certificate_authority))
    again = admitted.handle()

    assert (kept, again) == (1, 0)
    assert '"reason":"tls_failure"' in said
    assert told["verdict"] == "fault"
    assert "tls_failure" in told["evidence"]
    assert "TRAILSINK_OPENSEARCH_CA_FILE" in told["fix"]
    assert admitted.found() == {good["eventID"]}
    assert admitted.letters() == 0


def test_a_password_that_is_rotated_while_it_runs_costs_nothing(admitted: Secured) -> None:
    """Between the cluster's change and the secret's, batches are refused and wait; nobody restarts anything."""
    before, between, after = event(), event(), event()
    node, manager = admitted.node, boto3.client("secretsmanager")

    def secret() -> str:
        return json.dumps({"username": PIPELINE, "password": node.passwords[PIPELINE]})

    arn = manager.create_secret(Name=f"loader-{admitted.prefix}", SecretString=secret())["ARN"]
    with running({"TRAILSINK_OPENSEARCH_SECRET_ARN": arn}) as process:
        admitted.put(before)
        read_until_indexed(process, 1)
        node.passwords[PIPELINE] = new_password(node, PIPELINE)
        admitted.put(between)
        refused = read_until(process, '"reason":"401"')
        manager.put_secret_value(SecretId=arn, SecretString=secret())
        admitted.put(after)
        read_until_indexed(process, 2)
        ended = process.poll()

    assert refused
    assert ended is None
    assert admitted.found() == {one["eventID"] for one in (before, between, after)}
    assert admitted.letters() == 0


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read what the process says up to a line that has this text."""
    assert process.stdout
    return next(line for line in process.stdout if text in line)


def read_until_indexed(process: subprocess.Popen[str], records: int) -> None:
    """Read what the process says until its batches have indexed so many records."""
    while records > 0:
        records -= json.loads(read_until(process, '"message":"batch"'))["RecordsIndexed"]


@contextmanager
def running(variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """`trailsink run`, until it is killed: a gentle stop would wait for the end of a long poll."""
    environment = os.environ | variables
    with subprocess.Popen([TRAILSINK, "run"], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_doctor_does_with_a_role_that_only_looks(admitted: Secured) -> None:
    """Who is on call need not be able to change anything; and with the loader's own password, it says what it lacks."""
    admitted.put(event())
    admitted.handle()
    admitted.found()  # which refreshes

    as_loader = examine()
    admitted.sign_in_as(EXAMINER)
    as_examiner = examine()

    for check in ("cluster", "index template", "mapping", "newest event"):
        assert as_examiner[check]["verdict"] == "ok", as_examiner[check]
    assert as_examiner["loader's rights"]["verdict"] == "fault"  # for it is no loader
    assert as_loader["loader's rights"]["verdict"] == "ok"
    assert as_loader["index template"]["verdict"] == "not checked"
    assert "indices:admin/index_template/get" in as_loader["index template"]["fix"]


def test_a_wrong_password_is_told_by_the_doctor(admitted: Secured) -> None:
    """A rotated password that somebody forgot to write down."""
    (admitted.folder / PIPELINE).write_text("wrong")

    found = examine()["cluster"]

    assert found["verdict"] == "fault"
    assert "401" in found["evidence"]
    assert "wrong" not in json.dumps(found)
