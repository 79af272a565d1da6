"""How to reach one cluster: connections that sign, verify certificates and read answers fast."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import urllib3
from opensearchpy import OpenSearch, RequestsHttpConnection
from opensearchpy.exceptions import SerializationError
from opensearchpy.serializer import JSONSerializer
from requests_aws4auth import AWS4Auth
from urllib3.util import parse_url

from worker.opensearch.interruptible import InterruptibleAdapter, InterruptibleUrllib3Connection, watch_pools

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# The client logs a line per request at INFO, whole bodies at DEBUG, and each of our retries as a warning.
logging.getLogger("opensearch").setLevel(logging.CRITICAL)


class _SignedConnection(RequestsHttpConnection):
    """RequestsHttpConnection that obeys its own `ca_certs` and `proxy`, and follows no redirect.

    With REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE in the environment, requests prefers those to the session's setting
    (github.com/psf/requests/issues/3829).
    """

    def __init__(self, *, proxy: str = "", **options: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(**options)
        self.session.trust_env = False
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, InterruptibleAdapter())
        self.session.proxies = {self.scheme: proxy} if proxy else {}

    def perform_request(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - passed through
        """Send a request once, to this host only: another one would get its body and the session token."""
        return super().perform_request(*arguments, **options | {"allow_redirects": False})


class _PlainConnection(InterruptibleUrllib3Connection):
    """Urllib3HttpConnection with a `proxy`. It follows no redirect, as it tells urllib3 not to retry."""

    def __init__(self, *, proxy: str = "", **options: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(**options)
        if proxy:
            ca_file = options.get("ca_certs") or self.default_ca_certs()
            self._urllib3_pool_factory = lambda: _ProxiedPool(proxy, self.host, ca_file, self.timeout)
            self._create_urllib3_pool()


class _ProxiedPool:
    """The part of urllib3's connection pool that the client uses, for one host behind a proxy."""

    def __init__(self, proxy: str, host: str, ca_file: str | None, seconds: float) -> None:
        self._host = host
        credentials = parse_url(proxy).auth
        self._proxy = urllib3.ProxyManager(
            proxy,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=unquote(credentials)) if credentials else None,
            cert_reqs="CERT_REQUIRED",
            ca_certs=ca_file,
            timeout=seconds,
        )
        watch_pools(self._proxy)

    def urlopen(self, method: str, path: str, body: bytes | None, **options: Any) -> urllib3.BaseHTTPResponse:  # noqa: ANN401 - passed through
        """Send one request, and follow no redirect."""
        return self._proxy.urlopen(method, f"{self._host}{path}", body=body, redirect=False, **options)

    def close(self) -> None:
        """Close all connections."""
        self._proxy.clear()


class _FastSerializer(JSONSerializer):
    """Reads answers in a third of the time that `json` takes: a bulk response has an item for each document."""

    def loads(self, s: str) -> Any:  # noqa: ANN401 - a foreign answer
        try:
            return msgspec.json.decode(s)
        except (msgspec.DecodeError, RecursionError) as cause:
            raise SerializationError(s, cause) from cause


class Client:
    """How to reach one cluster. `sign_in` returns what `http_auth` takes, and is called for every connection.

    `proxy` is the address of the proxy in between, "" for none. Only the host of `url` is ever sent anything else.
    The client's own retries are switched off: tenacity is the one retry layer, so attempts add up, not multiply.
    """

    def __init__(
        self,
        url: str,
        *,
        sign_in: Callable[[], AWS4Auth | tuple[str, str] | None],
        ca_file: Path | None,
        seconds: float,
        proxy: str = "",
    ) -> None:
        # With a slash too many, requests would go to //_bulk, where no server has anything.
        self._url, self._sign_in, self._ca_file, self._seconds = url.rstrip("/"), sign_in, ca_file, seconds
        self._proxy = proxy

    def connect(self) -> OpenSearch:
        """Open a client of one connection; AWS4Auth is not thread-safe, so each thread has its own."""
        auth = self._sign_in()
        tls: dict[str, Any] = {"use_ssl": self._url.startswith("https://")}
        if tls["use_ssl"]:
            tls |= {"verify_certs": True} | ({"ca_certs": str(self._ca_file)} if self._ca_file else {})
        return OpenSearch(
            [self._url],
            http_auth=auth,
            connection_class=_SignedConnection if isinstance(auth, AWS4Auth) else _PlainConnection,
            proxy=self._proxy,
            timeout=self._seconds,
            max_retries=0,
            retry_on_status=(),
            retry_on_timeout=False,
            serializer=_FastSerializer(),
            **tls,
        )
