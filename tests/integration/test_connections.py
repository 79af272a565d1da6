"""Promises about connections to the cluster: no redirect, no credential in clear text, and a proxy where one is set.

Real sockets, and TLS with an authority of our own.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from opensearchpy.exceptions import TransportError
from requests_aws4auth import AWS4Auth

from tests.support.certificates import Authority, make_authority
from tests.support.http_server import QuietHandler, running, serving, told
from tests.support.proxy_server import forward_proxy
from worker.errors import SetupError, UnsafeAddress
from worker.opensearch.client import Client
from worker.opensearch.errors import describe_error
from worker.opensearch.setup import check_template
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opensearchpy import OpenSearch

SIGN_INS: dict[str, Callable[[], AWS4Auth | tuple[str, str] | None]] = {
    "signed": lambda: AWS4Auth("AKIDEXAMPLE", "secret", "eu-central-1", "es", session_token="TOKEN"),
    "basic": lambda: ("ada", "password"),
    "none": lambda: None,
}
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the proxies that a test sets."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "private")


@dataclass
class Cluster:
    """A server over TLS that answers every request with a document, or with a redirect, and keeps the requests."""

    location: str = ""
    status: int = 307
    url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def over_tls(authority: Authority, cluster: Cluster) -> Iterator[Cluster]:
    class Handler(QuietHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            cluster.requests.append((self.command, self.path, headers, body))
            text = json.dumps({"version": {"number": "3.0.0", "distribution": "opensearch"}}).encode()
            self.send_response(cluster.status if cluster.location else 200)
            if cluster.location:
                self.send_header("Location", cluster.location)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text if self.command != "HEAD" else b"")

        do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815 - http.server's own names

    with running(Handler, authority.context()) as cluster.url:
        yield cluster


def connect(url: str, sign_in: str, authority: Authority | None = None, proxy: str = "") -> OpenSearch:
    ca_file = authority.ca if authority else None
    return Client(url, sign_in=SIGN_INS[sign_in], ca_file=ca_file, seconds=60, proxy=proxy).connect()


# Redirects


@pytest.mark.parametrize("behind_proxy", [False, True], ids=["direct", "by a proxy"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("sign_in", SIGN_INS)
def test_no_connection_follows_a_redirect(
    authority: Authority, sign_in: str, status: int, *, behind_proxy: bool
) -> None:
    """The other host would get events and the session token, and its 200 would acknowledge what nobody has."""
    elsewhere: list[str] = []

    def answer(_method: str, path: str, *_: object) -> tuple[int, bytes, dict[str, str]]:
        elsewhere.append(path)
        return told(200, {"errors": False, "items": []})

    with (
        serving(answer) as other,
        forward_proxy() as proxy,
        over_tls(authority, Cluster(f"{other}/_bulk", status)) as cluster,
    ):
        client = connect(cluster.url, sign_in, authority, proxy.url if behind_proxy else "")

        with pytest.raises(TransportError) as caught:
            client.transport.perform_request("POST", "/_bulk", body=b"{}", headers={"content-type": "application/json"})

    assert caught.value.status_code == status
    assert elsewhere == []
    assert [request[1] for request in cluster.requests] == ["/_bulk"]
    assert bool(proxy.requests) is behind_proxy


def test_a_redirect_is_the_operators_to_resolve(authority: Authority) -> None:
    """Waiting does not help, so nothing starts; the sentence says what to change."""
    with over_tls(authority, Cluster("https://elsewhere.example/")) as cluster:
        client = connect(cluster.url, "basic", authority)

        with pytest.raises(SetupError, match=r"307.*redirect.*not followed"):
            check_template(client, "cloudtrail")


# Clear text


def settings_of(monkeypatch: pytest.MonkeyPatch, url: str, **variables: str) -> None:
    for name, value in {"OPENSEARCH_URL": url, **variables}.items():
        monkeypatch.setenv(f"TRAILSINK_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


SIGN_IN_SETTINGS = [{"OPENSEARCH_AUTH": "sigv4"}, {"OPENSEARCH_USERNAME": "ada"}, {"OPENSEARCH_SECRET_ARN": "arn:x"}]


@pytest.mark.parametrize("variables", SIGN_IN_SETTINGS, ids=["signed", "password", "secret"])
@pytest.mark.parametrize(
    "host", ["search.example", "10.0.0.7", "[2001:db8::1]", "localhost.example", "127.0.0.1.nip.io"]
)
def test_credentials_go_over_plain_http_to_no_other_machine(
    monkeypatch: pytest.MonkeyPatch, host: str, variables: dict[str, str]
) -> None:
    """Whoever is on the way could read them; refused before anything is sent, or even read from its secret."""
    settings_of(monkeypatch, f"http://{host}:9200", **variables)

    with pytest.raises(UnsafeAddress, match="clear text: use https://"):
        make_client(load_settings())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.9.10", "node.localhost"])
def test_a_sign_in_on_this_machine_may_be_in_clear_text(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Nobody else is on the way: a local node, or the end of an SSH tunnel."""
    settings_of(monkeypatch, f"http://{host}:9200", OPENSEARCH_AUTH="sigv4")

    assert make_client(load_settings())


def test_a_proxy_is_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could read a sign-in to a loopback address, and would take it for its own."""
    settings_of(monkeypatch, "http://localhost:9200", OPENSEARCH_AUTH="sigv4")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")

    with pytest.raises(UnsafeAddress, match="add localhost to NO_PROXY"):
        make_client(load_settings())
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert make_client(load_settings())


def test_without_credentials_plain_http_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of value is shown but the events, and that is the choice of whoever opened the cluster."""
    settings_of(monkeypatch, "http://search.example:9200")

    assert make_client(load_settings())


# Proxies


@pytest.mark.parametrize("sign_in", SIGN_INS)
def test_a_proxy_of_the_environment_tunnels_tls_to_the_cluster(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, sign_in: str
) -> None:
    """As botocore does towards AWS. The proxy sees a host and port; our authority vouches for the other end."""
    with forward_proxy() as proxy, over_tls(authority, Cluster()) as cluster:
        variables = {"signed": {"OPENSEARCH_AUTH": "sigv4"}, "none": {"OPENSEARCH_AUTH": "none"}}.get(sign_in)
        password = authority.folder / "password"
        password.write_text("password")
        basic = {"OPENSEARCH_USERNAME": "ada", "OPENSEARCH_PASSWORD_FILE": str(password)}
        settings_of(monkeypatch, cluster.url, OPENSEARCH_CA_FILE=str(authority.ca), **(variables or basic))
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)

        info: Any = make_client(load_settings()).connect().info()

    assert info["version"]["number"] == "3.0.0"
    assert proxy.requests == [("CONNECT", urlsplit(cluster.url).netloc)]
    assert not any("authorization" in headers for headers in proxy.headers)
    assert ("authorization" in cluster.requests[0][2]) is (sign_in != "none")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_a_proxy_forwards_plain_http(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The request names the whole address, as RFC 9112, 3.2.2 wants it for a proxy."""
    with serving(lambda *_: told(200, {"version": {}})) as url, forward_proxy() as proxy:
        settings_of(monkeypatch, f"{url}/behind/")
        monkeypatch.setenv(variable, proxy.url)

        make_client(load_settings()).connect().info()

    assert proxy.requests == [("GET", f"{url}/behind/")]


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "example.com,127.0.0.1"])
def test_no_proxy_names_hosts_that_are_reached_directly(monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    """The same list that botocore reads."""
    with serving(lambda *_: told(200, {"version": {}})) as url, forward_proxy() as proxy:
        settings_of(monkeypatch, url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", no_proxy)

        make_client(load_settings()).connect().info()

    assert proxy.requests == []


@pytest.mark.parametrize("sign_in", SIGN_INS)
def test_a_proxy_with_a_password_gets_it(authority: Authority, sign_in: str) -> None:
    """`user:password@` in HTTPS_PROXY, percent-encoded as a URL has it, is for the proxy alone."""
    with forward_proxy("Basic YWRhOnAvdyU=") as proxy, over_tls(authority, Cluster()) as cluster:
        address = proxy.url.replace("://", "://ada:p%2Fw%25@")

        connect(cluster.url, sign_in, authority, address).info()

    assert [method for method, _ in proxy.requests] == ["CONNECT"]
    assert not any("proxy-authorization" in request[2] for request in cluster.requests)


@pytest.mark.parametrize("sign_in", SIGN_INS)
def test_a_proxy_that_refuses_is_named(authority: Authority, sign_in: str) -> None:
    """The words "no connection" alone would send the operator to the cluster; the proxy's password is never shown."""
    with forward_proxy("Basic bm9ib2R5") as proxy, over_tls(authority, Cluster()) as cluster:
        client = connect(cluster.url, sign_in, authority, proxy.url.replace("://", "://ada:S3CRET@"))

        with pytest.raises(TransportError) as caught:
            client.info()

    assert describe_error(caught.value) == "no connection through the proxy that HTTPS_PROXY or HTTP_PROXY names"
    assert "S3CRET" not in str(caught.value)
    assert cluster.requests == []


@pytest.mark.parametrize("sign_in", SIGN_INS)
def test_the_other_end_of_a_tunnel_is_verified(
    authority: Authority, sign_in: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A proxy could answer in the cluster's place."""
    another = make_authority(tmp_path_factory.mktemp("another") / "authority")
    with forward_proxy() as proxy, over_tls(authority, Cluster()) as cluster:
        client = connect(cluster.url, sign_in, another, proxy.url)

        with pytest.raises(TransportError, match="certificate"):
            client.info()

    assert cluster.requests == []


# Addresses


@pytest.mark.parametrize("slashes", ["/", "//", "///"])
@pytest.mark.parametrize("sign_in", SIGN_INS)
def test_slashes_at_the_end_of_an_address_change_nothing(sign_in: str, slashes: str) -> None:
    """With //_bulk a server has "no handler found", while GET // still answers."""
    paths: list[str] = []

    def answer(_method: str, path: str, *_: object) -> tuple[int, bytes, dict[str, str]]:
        paths.append(path)
        return told(200, {"version": {}})

    with serving(answer) as url:
        client = connect(url + slashes, sign_in)
        client.info()
        client.transport.perform_request("POST", "/_bulk", body=b"{}")

    assert paths == ["/", "/_bulk"]
