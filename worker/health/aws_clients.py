"""The AWS clients of health checks, all of one session."""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from boto3 import Session
    from botocore.config import Config


class AwsClients:
    """Creates a client of each service once: that is slow, and credentials refresh themselves. Thread-safe.

    `open_session` may raise SetupError.
    """

    def __init__(self, open_session: Callable[[], Session], config: Config) -> None:
        self._open_session, self._config = open_session, config
        self._clients: dict[str, Any] = {}
        self._lock = Lock()

    def sign_in(self) -> None:
        """Raise NoCredentialsError or SetupError when no request can be signed."""
        with self._lock:
            _ = self._session

    def __call__(self, service: str) -> Any:  # noqa: ANN401 - a client of any service
        """Return the client of a service."""
        with self._lock:  # sessions are not thread-safe
            if service not in self._clients:
                session: Any = self._session
                self._clients[service] = session.client(service, config=self._config)
            return self._clients[service]

    @cached_property
    def _session(self) -> Session:
        session = self._open_session()
        if session.get_credentials() is None:
            raise NoCredentialsError
        return session
