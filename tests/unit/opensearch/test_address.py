"""Promises about addresses: the proxy that botocore would choose, and no sign-in in clear text to another machine."""

from __future__ import annotations

import pytest
from botocore.utils import get_environ_proxies

from worker.errors import SetupError, UnsafeAddress
from worker.opensearch.address import is_loopback, proxy_for, refuse_clear_text

URL = "https://search.eu-central-1.es.amazonaws.com"


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the proxies that a test sets."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128", "HTTPS_PROXY": "http://other:1"}, "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "amazonaws.com"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "*"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "s3.amazonaws.com"}, "http://proxy:3128"),
        ({"HTTPS_PROXY": ""}, ""),
    ],
)
def test_the_proxy_is_the_one_towards_aws(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str
) -> None:
    """Two rules would send half of a pipeline past the company's proxy."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert proxy_for(URL) == get_environ_proxies(URL).get("https", "") == proxy


@pytest.mark.parametrize("address", ["proxy:3128", "//proxy:3128"])
def test_a_proxy_may_be_named_without_its_scheme(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """As botocore allows; curl does, too."""
    monkeypatch.setenv("HTTPS_PROXY", address)

    assert proxy_for(URL) == "http://proxy:3128"


def test_a_proxy_of_another_kind_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS needs a library that is not installed; the variable may hold a password."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://ada:S3CRET@proxy:1080")

    with pytest.raises(SetupError, match="HTTPS_PROXY") as caught:
        proxy_for(URL)

    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("localhost", True),
        ("a.localhost", True),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse
        ("::", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_only(host: str, *, expected: bool) -> None:
    """A name that only looks like it resolves to anything."""
    assert is_loopback(host) is expected


def test_clear_text_is_refused_with_the_fix() -> None:
    """The doctor prints both parts."""
    with pytest.raises(UnsafeAddress) as caught:
        refuse_clear_text("http://search.example:9200", "")

    assert (caught.value.why, caught.value.fix) == (
        "The sign-in would go to http://search.example in clear text",
        "use https://",
    )
    refuse_clear_text("https://search.example", "http://proxy:3128")
    refuse_clear_text("http://localhost:9200", "")
