"""What lies between this process and a cluster: the proxy, and clear text that others could read."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from worker.errors import SetupError, UnsafeAddress


def proxy_for(url: str) -> str:
    """Return the address of the proxy towards a server, "" for a direct connection; raises SetupError.

    As botocore chooses it towards AWS: HTTPS_PROXY or HTTP_PROXY by the scheme of the URL, unless NO_PROXY names the
    host. docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html
    """
    address = urlsplit(url)
    proxy = "" if proxy_bypass(address.netloc) else getproxies().get(address.scheme, "")
    if not proxy:
        return ""
    if "://" not in proxy:
        proxy = f"http://{proxy.removeprefix('//')}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise SetupError(f"{address.scheme.upper()}_PROXY must name a proxy that speaks http:// or https://.")
    return proxy


def refuse_clear_text(url: str, proxy: str) -> None:
    """Raise UnsafeAddress when a sign-in to this address could be read on the way."""
    address = urlsplit(url)
    if address.scheme == "https":
        return
    host = address.hostname or ""
    if not is_loopback(host):
        raise UnsafeAddress(f"The sign-in would go to http://{host} in clear text", "use https://")
    if proxy:
        raise UnsafeAddress("The sign-in would go to a proxy in clear text", f"add {host} to NO_PROXY")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: `localhost`, or a loopback address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761
