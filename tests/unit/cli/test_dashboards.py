"""Promises about the import, against a server that checks a request as Dashboards does and keeps accepted objects.

Dashboards itself is on no registry that a test could install it from (npm, PyPI, Maven), so its rules are written here:
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
from worker.boards.overview import COUNTERS
from worker.boards.saved_objects import ndjson, saved_objects
from worker.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from tests.support.http_server import Given

COUNT = len(saved_objects("cloudtrail"))

LATEST: dict[str, tuple[int, ...]] = {
    "index-pattern": (7, 6, 0),
    "visualization": (7, 10, 0),
    "dashboard": (7, 9, 3),
    "search": (7, 9, 3),
}


@dataclass
class Dashboards:
    """A Dashboards: the versions that it knows, and its saved objects."""

    url: str = ""
    latest: dict[str, tuple[int, ...]] = field(default_factory=lambda: LATEST)
    deleted: str = ""  # an object that somebody deleted in the meantime, so that references to it are missing
    password: str = ""
    is_cluster: bool = False  # OpenSearch itself, in place of Dashboards
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.headers = headers
        parts = urlsplit(target)
        missing = {"statusCode": 404, "error": "Not Found", "message": "Not Found"}
        if self.is_cluster:
            return 400, {"error": f"no handler found for uri [{parts.path}] and method [{method}]"}
        if self.password and headers.get("authorization") != self.password:
            return 401, "Unauthorized"
        saved = self.objects.get(("index-pattern", parts.path.rpartition("/index-pattern/")[2]))
        if not parts.path.startswith("/_dashboards/api/saved_objects/") or (method == "GET" and not saved):
            return 404, missing
        return (200, saved) if method == "GET" else self._posted(parts.query, body)

    def _posted(self, query: str, body: bytes) -> tuple[int, Any]:
        headers = self.headers
        if "osd-xsrf" not in headers:
            return 400, {"statusCode": 400, "message": "Request must contain a osd-xsrf header."}
        disposition, file = self._file(headers["content-type"], body)
        if not re.search(r'name="file"; filename="[^"]+\.ndjson"', disposition):
            return 400, {"statusCode": 400, "error": "Bad Request", "message": "Invalid file extension "}
        return self._import([json.loads(line) for line in file.splitlines()], parse_qs(query))

    def conflicts_of_first_open(self) -> int:
        """How many saves of index patterns a browser sends, and loses, when a board is opened for the first time.

        Each panel whose pattern has no fields fetches and saves them, all with the version that they read at first.
        """
        lacking = {
            saved["id"]
            for (kind, _), saved in self.objects.items()
            if kind == "index-pattern" and not json.loads(saved["attributes"].get("fields") or "[]")
        }
        panels = [saved for (kind, _), saved in self.objects.items() if kind == "visualization"]
        return sum(target["id"] in lacking for saved in panels for target in saved["references"])

    @staticmethod
    def _file(content_type: str, body: bytes) -> tuple[str, bytes]:
        message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        (part,) = message.iter_parts()
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        return str(part["content-disposition"]), content

    def _import(self, imported: list[dict[str, Any]], query: dict[str, list[str]]) -> tuple[int, Any]:
        for saved in imported:
            for kind, version in saved["migrationVersion"].items():
                if tuple(map(int, version.split("."))) > self.latest[kind]:
                    text = f'Document "{saved["id"]}" has property "{kind}" which belongs to a more recent version of '
                    text += f"OpenSearch Dashboards [{version}]. The last known version is [7.0.0]"
                    return 422, {"statusCode": 422, "error": "Unprocessable Entity", "message": text}
        known = {(saved["type"], saved["id"]) for saved in imported} | set(self.objects)
        errors = []
        for saved in imported:
            key = saved["type"], saved["id"]
            missing = [
                {"type": target["type"], "id": target["id"]}
                for target in saved["references"]
                if (target["type"], target["id"]) not in known or target["id"] == self.deleted
            ]
            failure = {"id": saved["id"], "type": saved["type"], "title": saved["attributes"]["title"]}
            if missing:
                errors.append(failure | {"error": {"type": "missing_references", "references": missing}})
            elif key in self.objects and query.get("overwrite") != ["true"]:
                errors.append(failure | {"error": {"type": "conflict"}})
            else:
                self.objects[key] = saved
        response = {"success": not errors, "successCount": len(imported) - len(errors)}
        return 200, response | ({"errors": errors} if errors else {})


@pytest.fixture
def server() -> Iterator[Dashboards]:
    """An empty Dashboards."""
    dashboards = Dashboards()

    def answer(method: str, path: str, raw_headers: dict[str, str], body: bytes) -> Given:
        headers = {name.lower(): value for name, value in raw_headers.items()}
        if "x-amz-content-sha256" in headers:
            assert headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
        return told(*dashboards.answer(method, path, headers, body))

    with serving(answer) as url:
        dashboards.url = f"{url}/_dashboards"
        yield dashboards


def install(server: Dashboards, *words: str) -> Result:
    return CliRunner().invoke(main, ["dashboards", "install", "--url", server.url, *words])


def test_all_objects_are_imported_and_a_second_import_replaces_them(server: Dashboards) -> None:
    """After an upgrade of trailsink the same command imports the new panels."""
    first, second = install(server), install(server, "--tenant", "global")

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert first.stdout == second.stdout
    assert first.stdout.splitlines() == [
        f"CloudTrail: {name}  {server.url}/app/dashboards#/view/trailsink-cloudtrail-{name}"
        for name in ("overview", "investigate", "pipeline")
    ]
    assert [json.dumps(saved, separators=(",", ":")) for saved in server.objects.values()] == ndjson(
        saved_objects("cloudtrail")
    ).splitlines()
    assert server.headers["securitytenant"] == "global"
    assert "authorization" not in server.headers


def test_the_first_open_of_a_board_saves_nothing(server: Dashboards) -> None:
    """Before the first event such saves never end, and every panel is an error."""
    install(server)

    complete = server.conflicts_of_first_open()
    for saved in server.objects.values():
        saved["attributes"].pop("fields", None)

    assert complete == 0
    assert server.conflicts_of_first_open() > len(COUNTERS)


def test_what_a_user_set_in_a_pattern_survives_an_import(server: Dashboards) -> None:
    """The boards say that an import replaces them; nobody expects it of the formats of fields."""
    install(server)
    pattern = server.objects["index-pattern", "trailsink-cloudtrail"]["attributes"]
    pattern["sourceFilters"] = '[{"value":"trailsink.raw"}]'
    pattern["fields"] = json.dumps([*json.loads(pattern["fields"]), {"name": "hour", "scripted": True}])

    install(server)

    after = server.objects["index-pattern", "trailsink-cloudtrail"]["attributes"]
    assert after["sourceFilters"] == '[{"value":"trailsink.raw"}]'
    assert {"name": "hour", "scripted": True} in json.loads(after["fields"])


def test_an_address_copied_from_a_browser_is_understood(server: Dashboards) -> None:
    """It is what the command itself printed."""
    address = server.url

    server.url += "/app/dashboards#/view/trailsink-cloudtrail-overview"
    result = install(server)

    assert result.exit_code == 0, result.stderr
    assert f"  {address}/app/dashboards#/view/trailsink-cloudtrail-overview\n" in result.stdout


def test_missing_references_are_named(server: Dashboards) -> None:
    """Dashboards reports them in a member of a response with status 200."""
    server.deleted = "trailsink-cloudtrail-lag"

    result = install(server)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: Dashboards refuses 1 of {COUNT} objects: dashboard trailsink-cloudtrail-pipeline: "
        "it refers to missing visualization trailsink-cloudtrail-lag.\n"
    )


def test_a_dashboards_that_is_too_old_is_quoted(server: Dashboards) -> None:
    """422 refuses the whole file."""
    server.latest = LATEST | {"visualization": (7, 4, 2)}

    result = install(server)

    assert result.exit_code == 1
    assert "it answers 422, Document " in result.stderr
    assert "belongs to a more recent version" in result.stderr
    assert server.objects == {}


def test_it_signs_in_as_for_the_cluster(server: Dashboards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same user and password file; a wrong password is one sentence."""
    server.password = "Basic " + base64.b64encode(b"ada:right").decode()
    (tmp_path / "password").write_text("right\n")
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_USERNAME", "ada")
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_PASSWORD_FILE", str(tmp_path / "password"))

    right = install(server)
    (tmp_path / "password").write_text("wrong\n")
    wrong = install(server)

    assert right.exit_code == 0, right.stderr
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("Error: The import into Dashboards failed: it refuses with 401")


def test_a_request_to_amazon_is_signed_with_its_body(server: Dashboards, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a domain the service is es; the server compares the hash in the header with the body."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_AUTH", "sigv4")

    result = install(server)

    assert result.exit_code == 0, result.stderr
    assert re.match(
        r"AWS4-HMAC-SHA256 Credential=testing/\d{8}/eu-central-1/es/aws4_request", server.headers["authorization"]
    )
    assert "x-amz-content-sha256" in server.headers


@pytest.mark.parametrize("ending", ["/elsewhere", ""])
def test_a_wrong_path_is_one_sentence(server: Dashboards, ending: str) -> None:
    """A managed domain has Dashboards at /_dashboards, others at the root."""
    server.url = server.url.removesuffix("/_dashboards") + ending

    result = install(server)

    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "it answers 404; a managed domain has Dashboards at /_dashboards" in result.stderr


def test_the_address_of_the_cluster_is_recognised(server: Dashboards) -> None:
    """The most common mistake: both are called OpenSearch."""
    server.is_cluster = True

    result = install(server)

    assert result.exit_code == 1
    assert "this is the cluster itself; Dashboards has an address of its own (--url)" in result.stderr


def test_an_address_without_a_server_is_one_sentence() -> None:
    """Nothing listens on port 9."""
    result = install(Dashboards("http://127.0.0.1:9"))

    assert (result.exit_code, result.stderr) == (1, "Error: The import into Dashboards failed: no connection.\n")


@pytest.mark.parametrize(
    ("cluster", "words", "code", "text"),
    [
        ("http://127.0.0.1:9200", (), 1, "pass --url"),
        ("", (), 1, "TRAILSINK_OPENSEARCH_URL is not set"),
        ("", ("--url", "dashboards:5601"), 2, "--url must be an address like"),
        ("", ("--url", "https://ada:S3CRET@dashboards"), 2, "without a user or password"),
    ],
)
def test_an_unknown_address_must_be_passed(
    monkeypatch: pytest.MonkeyPatch, cluster: str, words: tuple[str, ...], code: int, text: str
) -> None:
    """Only a managed domain has Dashboards where the cluster is."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", cluster)

    result = CliRunner().invoke(main, ["dashboards", "install", *words])

    assert (result.exit_code, text in result.stderr) == (code, True), result.stderr
    assert "S3CRET" not in result.output


def test_a_password_goes_to_dashboards_in_clear_text_on_this_machine_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The address of `--url` is held to the same rule as the cluster's."""
    (tmp_path / "password").write_text("x")
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "https://search.example")
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_USERNAME", "ada")
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_PASSWORD_FILE", str(tmp_path / "password"))

    result = CliRunner().invoke(main, ["dashboards", "install", "--url", "http://dashboards.example:5601"])

    sentence = "Error: The sign-in would go to http://dashboards.example in clear text: use https://.\n"
    assert (result.exit_code, result.stderr) == (1, sentence)


def test_the_file_for_an_import_by_hand_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a Dashboards that no command can reach."""
    monkeypatch.setenv("TRAILSINK_INDEX_PREFIX", "audit")

    written = CliRunner().invoke(main, ["dashboards", "export", str(tmp_path / "a.ndjson")])
    printed = CliRunner().invoke(main, ["dashboards", "export", "-"])
    failed = CliRunner().invoke(main, ["dashboards", "export", str(tmp_path / "no" / "a.ndjson")])

    assert written.stdout == f"Wrote {COUNT} saved objects for audit-* to {tmp_path / 'a.ndjson'}.\n"
    assert (tmp_path / "a.ndjson").read_text() == printed.stdout == ndjson(saved_objects("audit"))
    assert (failed.exit_code, "cannot be written: No such file" in failed.stderr) == (1, True)
