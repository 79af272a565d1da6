"""Asking a server over HTTP whether it is there, for a bounded time."""

import http.client
import ssl
import time
import urllib.request
from collections.abc import Callable


def fetch(
    url: str,
    *,
    method: str = "GET",
    timeout: float = 5,
    headers: dict[str, str] | None = None,
    trusting: ssl.SSLContext | None = None,
) -> bytes | None:
    """Return what a server answers, or None if it does not answer, or not with success."""
    # whatever scheme the URL has, it is our own or the user's
    request = urllib.request.Request(url, method=method, headers=headers or {})  # noqa: S310
    try:
        with _opener(trusting).open(request, timeout=timeout) as answer:
            content: bytes = answer.read()
    except (OSError, http.client.HTTPException):  # refused, reset, timed out, or an HTTP error status
        return None
    return content


def _opener(trusting: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """Only loopback and an explicitly named server are asked: a proxy of the environment has no business there."""
    direct = urllib.request.ProxyHandler({})
    return urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=trusting))


def wait_until(happened: Callable[[], bool], seconds: float) -> bool:
    """Ask until the answer is yes or the time is up; say which."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
