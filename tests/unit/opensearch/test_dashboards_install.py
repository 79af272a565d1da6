"""Promises about the import, against a server that looks at a request as Dashboards does and keeps what it takes.

Dashboards itself is on no registry that a test could take it from (npm, PyPI, Maven), so its rules are told here:
github.com/opensearch-project/OpenSearch-Dashboards, src/core/server/saved_objects.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from tests.support.http_server import serving, told
from worker.cli.main import main
from worker.opensearch.dashboards import ndjson

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from tests.support.http_server import Given

LATEST: dict[str, tuple[int, ...]] = {
    "index-pattern": (7, 6, 0),
    "visualization": (7, 10, 0),
    "dashboard": (7, 9, 3),
    "search": (7, 9, 3),
}


@dataclass
class Dashboards:
    """What the server takes, and what it has."""

    url: str = ""
    latest: dict[str, tuple[int, ...]] = field(default_factory=lambda: LATEST)
    lost: str = ""  # an object that a reference cannot be resolved to, as if somebody deleted it meanwhile
    password: str = ""
    is_cluster: bool = False  # an OpenSearch in place of it
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.headers = headers
        parts = urlsplit(target)
        if self.is_cluster:
            return 400, {"error": f"no handler found for uri [{parts.path}] and method [POST]"}
        if parts.path != "/_dashboards/api/saved_objects/_import":
            return 404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"}
        if self.password and headers.get("authorization") != self.password:
            return 401, "Unauthorized"
        if "osd-xsrf" not in headers:
            return 400, {"statusCode": 400, "message": "Request must contain a osd-xsrf header."}
        disposition, file = self._file(headers["content-type"], body)
        if not re.search(r'name="file"; filename="[^"]+\.ndjson"', disposition):
            return 400, {"statusCode": 400, "error": "Bad Request", "message": "Invalid file extension "}
        return self._take([json.loads(line) for line in file.splitlines()], parse_qs(parts.query))

    @staticmethod
    def _file(content_type: str, body: bytes) -> tuple[str, bytes]:
        message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        (part,) = message.iter_parts()
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        return str(part["content-disposition"]), content

    def _take(self, given: list[dict[str, Any]], query: dict[str, list[str]]) -> tuple[int, Any]:
        for one in given:
            for kind, version in one["migrationVersion"].items():
                if tuple(map(int, version.split("."))) > self.latest[kind]:
                    text = f'Document "{one["id"]}" has property "{kind}" which belongs to a more recent version of '
                    text += f"OpenSearch Dashboards [{version}]. The last known version is [7.0.0]"
                    return 422, {"statusCode": 422, "error": "Unprocessable Entity", "message": text}
        known = {(one["type"], one["id"]) for one in given} | set(self.objects)
        errors = []
        for one in given:
            key = one["type"], one["id"]
            missing = [of for of in one["references"] if (of["type"], of["id"]) not in known or of["id"] == self.lost]
            told = {"id": one["id"], "type": one["type"], "title": one["attributes"]["title"]}
            if missing:
                references = [{"type": of["type"], "id": of["id"]} for of in missing]
                errors.append(told | {"error": {"type": "missing_references", "references": references}})
            elif key in self.objects and query.get("overwrite") != ["true"]:
                errors.append(told | {"error": {"type": "conflict"}})
            else:
                self.objects[key] = one
        answer = {"success": not errors, "successCount": len(given) - len(errors)}
        return 200, answer | ({"errors": errors} if errors else {})


@pytest.fixture
def there() -> Iterator[Dashboards]:
    """A Dashboards that is empty."""
    dashboards = Dashboards()

    def answer(_: str, path: str, given: dict[str, str], body: bytes) -> Given:
        headers = {name.lower(): value for name, value in given.items()}
        if "x-amz-content-sha256" in headers:
            assert headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
        return told(*dashboards.answer(path, headers, body))

    with serving(answer) as url:
        dashboards.url = f"{url}/_dashboards"
        yield dashboards


def install(there: Dashboards, *words: str) -> Result:
    return CliRunner().invoke(main, ["dashboards", "install", "--url", there.url, *words])


def test_all_objects_are_imported_and_a_second_time_replaces_them(there: Dashboards) -> None:
    """An upgrade of trailsink brings new panels by the same command."""
    first, second = install(there), install(there, "--tenant", "global")

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert first.stdout == second.stdout
    assert first.stdout.splitlines() == [
        f"Dashboard CloudTrail: overview is there, at {there.url}/app/dashboards.",
        f"Dashboard CloudTrail: pipeline is there, at {there.url}/app/dashboards.",
    ]
    assert [json.dumps(one, separators=(",", ":")) for one in there.objects.values()] == ndjson(
        "cloudtrail"
    ).splitlines()
    assert there.headers["securitytenant"] == "global"
    assert "authorization" not in there.headers


def test_references_that_are_missing_are_named(there: Dashboards) -> None:
    """Dashboards says it in a member of a 200."""
    there.lost = "trailsink-cloudtrail-lag"

    done = install(there)

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: Dashboards refuses 1 of 22 objects: dashboard trailsink-cloudtrail-pipeline: "
        "it refers to visualization trailsink-cloudtrail-lag.\n"
    )


def test_a_dashboards_that_is_too_old_is_said_in_its_own_words(there: Dashboards) -> None:
    """422 refuses the whole file."""
    there.latest = LATEST | {"visualization": (7, 4, 2)}

    done = install(there)

    assert done.exit_code == 1
    assert "it says 422, Document " in done.stderr
    assert "belongs to a more recent version" in done.stderr
    assert there.objects == {}


def test_it_signs_in_as_for_the_cluster(there: Dashboards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same user and password file; a wrong one is a sentence."""
    there.password = "Basic " + base64.b64encode(b"ada:right").decode()
    (tmp_path / "password").write_text("right\n")
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_USERNAME", "ada")
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_PASSWORD_FILE", str(tmp_path / "password"))

    right = install(there)
    (tmp_path / "password").write_text("wrong\n")
    wrong = install(there)

    assert right.exit_code == 0, right.stderr
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("Error: Dashboards does not take the import: it refuses with 401")


def test_a_request_to_amazon_is_signed_with_its_body(there: Dashboards, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a domain the service is es; the server compares the hash of the body with what it got."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_AUTH", "sigv4")

    done = install(there)

    assert done.exit_code == 0, done.stderr
    assert re.match(
        r"AWS4-HMAC-SHA256 Credential=testing/\d{8}/eu-central-1/es/aws4_request", there.headers["authorization"]
    )
    assert "x-amz-content-sha256" in there.headers


@pytest.mark.parametrize("ending", ["/elsewhere", ""])
def test_a_wrong_path_is_said_in_a_sentence(there: Dashboards, ending: str) -> None:
    """A managed domain has it below /_dashboards, others at the root."""
    there.url = there.url.removesuffix("/_dashboards") + ending

    done = install(there)

    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert "it says 404; a managed domain has Dashboards at /_dashboards" in done.stderr


def test_the_address_of_the_cluster_is_told_from_that_of_dashboards(there: Dashboards) -> None:
    """The commonest mistake: both are called OpenSearch."""
    there.is_cluster = True

    done = install(there)

    assert done.exit_code == 1
    assert "this is the cluster itself; Dashboards has an address of its own (--url)" in done.stderr


def test_nobody_at_the_address_is_said_in_a_sentence() -> None:
    """Port 9 is nobody's."""
    done = install(Dashboards("http://127.0.0.1:9"))

    assert (done.exit_code, done.stderr) == (1, "Error: Dashboards does not take the import: no connection.\n")


@pytest.mark.parametrize(
    ("cluster", "words", "code", "said"),
    [
        ("http://127.0.0.1:9200", (), 1, "give --url"),
        ("", (), 1, "TRAILSINK_OPENSEARCH_URL is not set"),
        ("", ("--url", "dashboards:5601"), 2, "--url is an address like"),
    ],
)
def test_an_address_that_is_not_known_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, cluster: str, words: tuple[str, ...], code: int, said: str
) -> None:
    """Only a managed domain has Dashboards where the cluster is."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", cluster)

    done = CliRunner().invoke(main, ["dashboards", "install", *words])

    assert (done.exit_code, said in done.stderr) == (code, True), done.stderr


def test_the_file_for_an_import_by_hand_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For those whose Dashboards no command can reach."""
    monkeypatch.setenv("TRAILSINK_INDEX_PREFIX", "audit")

    written = CliRunner().invoke(main, ["dashboards", "export", str(tmp_path / "a.ndjson")])
    printed = CliRunner().invoke(main, ["dashboards", "export", "-"])
    nowhere = CliRunner().invoke(main, ["dashboards", "export", str(tmp_path / "no" / "a.ndjson")])

    assert written.stdout == f"22 saved objects for audit-* are in {tmp_path / 'a.ndjson'}.\n"
    assert (tmp_path / "a.ndjson").read_text() == printed.stdout == ndjson("audit")
    assert (nowhere.exit_code, "cannot be written: No such file" in nowhere.stderr) == (1, True)
