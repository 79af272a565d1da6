"""The AWS clients of health checks: of one session, but for S3 where a role reads the bucket."""

from __future__ import annotations

from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from worker.aws.session import open_role_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from boto3 import Session
    from botocore.config import Config

    from worker.settings import Settings


class AwsClients:
    """Creates a client of each service once: that is slow, and credentials refresh themselves. Thread-safe.

    `open_session` may raise SetupError. `open_s3_session` opens the one of the role that reads the bucket, None where
    there is no such role.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        config: Config,
        open_s3_session: Callable[[], Session] | None = None,
    ) -> None:
        self._open_session, self._config, self._open_s3_session = open_session, config, open_s3_session
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
                session: Any = self._s3_session if service == "s3" else self._session
                self._clients[service] = session.client(service, config=self._config)
            return self._clients[service]

    @cached_property
    def _session(self) -> Session:
        session = self._open_session()
        if session.get_credentials() is None:
            raise NoCredentialsError
        return session

    @cached_property
    def _s3_session(self) -> Session:
        if self._open_s3_session is None:
            return self._session
        session = self._open_s3_session()
        try:
            session.get_credentials().get_frozen_credentials()  # type: ignore[union-attr] # it has some
        except (BotoCoreError, ClientError):
            return self._session  # who checks may not assume the role, where the loader may
        return session


def clients_for(settings: Settings, open_session: Callable[[], Session], config: Config) -> AwsClients:
    """Return the clients for a pipeline."""
    role = partial(open_role_session, settings.s3_role_arn, settings.s3_external_id) if settings.s3_role_arn else None
    return AwsClients(open_session, config, role)
