"""The addresses that settings hold: checked before anything connects to them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

_NO_USER = "it must not hold a user or password"
_SIGN_IN = (
    f"{_NO_USER}: set TRAILSINK_OPENSEARCH_SECRET_ARN, or"
    " TRAILSINK_OPENSEARCH_USERNAME with TRAILSINK_OPENSEARCH_PASSWORD_FILE"
)


def _check_url(url: str, with_user: str = _NO_USER) -> str:
    """Refuse what is no address, and a password in one: addresses are printed, logged and kept in state files."""
    try:
        address = urlsplit(url)
        _ = address.port
    except ValueError:
        raise ValueError("not a URL") from None  # the error's own text may quote a password
    if "@" in address.netloc:
        raise ValueError(with_user)
    return url


def _check_cluster_url(url: str) -> str:
    address = urlsplit(_check_url(url, _SIGN_IN))
    if url and not (address.scheme in ("http", "https") and address.hostname):
        raise ValueError("it must start with http:// or https://, and name a host")
    return url


Url = Annotated[str, AfterValidator(_check_url)]
ClusterUrl = Annotated[str, AfterValidator(_check_cluster_url)]
