"""The local stack in the foreground: it lives exactly as long as the process that asked for it."""

import os
import shlex
from pathlib import Path
from types import TracebackType
from typing import Self

from .aws import Aws
from .errors import LocalStackError
from .node import DEFAULT_VERSION, Node, Setting
from .polling import fetch
from .resources import ACCESS_KEY, REGION, Resources, make_resources

SERVER_VARIABLE = "TRAILSINK_TEST_OPENSEARCH_URL"

# What would lead boto3 past the stack, to a real account or nowhere.
# https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
MISLEADING = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)


# What `environment` sets.
VARIABLES = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "TRAILSINK_OPENSEARCH_URL",
    "TRAILSINK_QUEUE_URL",
    "TRAILSINK_DEAD_LETTER_QUEUE_URL",
    "TRAILSINK_BUCKET",
)


def server_already_there() -> str | None:
    """Return the URL of the OpenSearch that the user names, if any, once it has answered."""
    url = os.environ.get(SERVER_VARIABLE, "").rstrip("/")
    if url and fetch(url) is None:
        raise LocalStackError(f"{SERVER_VARIABLE} is {url}, and no OpenSearch answers there.")
    return url or None


def environment(opensearch_url: str, aws_url: str, resources: Resources) -> dict[str, str]:
    """Return the variables that point trailsink, boto3 and the AWS CLI at the stack."""
    values = (
        aws_url,
        ACCESS_KEY,
        ACCESS_KEY,
        REGION,
        REGION,
        opensearch_url,
        resources.queue_url,
        resources.dead_letter_queue_url,
        resources.bucket,
    )
    return dict(zip(VARIABLES, values, strict=True))


def as_shell(variables: dict[str, str]) -> str:
    """Return lines for any POSIX shell that set the variables and unset the misleading ones."""
    lines = [f"unset {' '.join(MISLEADING)}"]
    for name, value in variables.items():
        quoted = value.replace("'", "'\\''")
        lines.append(f"export {name}='{quoted}'")
    return "\n".join(lines) + "\n"


def read_environment(env: Path) -> dict[str, str]:
    """Return the variables of a file that `as_shell` wrote."""
    words = (shlex.split(line) for line in env.read_text(encoding="utf-8").splitlines())
    pairs = (words[1].partition("=") for words in words if words[0] == "export")
    return {name: value for name, _, value in pairs}


def program_environment(variables: dict[str, str]) -> dict[str, str]:
    """Return this process's environment, pointed at the stack."""
    return {name: value for name, value in os.environ.items() if name not in MISLEADING} | variables


class Stack:
    """OpenSearch, S3 and SQS on free ports, with the bucket and the queues; `settings` are the node's.

    With TRAILSINK_TEST_OPENSEARCH_URL set, that server is used and `node` stays None.
    """

    def __init__(
        self,
        *,
        version: str = DEFAULT_VERSION,
        settings: dict[str, Setting] | None = None,
        heap: str = "512m",
        quick: bool = True,
    ) -> None:
        self._server = server_already_there()
        self.node = None if self._server else Node(version=version, settings=settings, heap=heap, quick=quick)
        self.aws = Aws()
        self._resources: Resources | None = None

    @property
    def opensearch_url(self) -> str:
        """Where OpenSearch answers."""
        return self.node.url if self.node else self._server or ""

    @property
    def resources(self) -> Resources:
        """The bucket and the queues."""
        if self._resources is None:
            raise LocalStackError("The stack is not started.")
        return self._resources

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a program at the stack."""
        return environment(self.opensearch_url, self.aws.url, self.resources)

    @property
    def logs(self) -> list[Path]:
        """Where the processes write what they do."""
        return [part.log_path for part in (self.node, self.aws) if part]

    def start(self) -> Self:
        """Start both servers and make the resources; if anything fails, nothing is left running."""
        try:
            self.aws.launch()  # it gets ready while the node starts
            if self.node:
                self.node.start()
            self.aws.wait()
            self._resources = make_resources(self.aws.url)
        except BaseException:
            self.close()
            raise
        return self

    def reset(self) -> None:
        """Make bucket and queues anew and empty; OpenSearch keeps what it has."""
        self.aws.reset()
        self._resources = make_resources(self.aws.url)

    def close(self) -> None:
        """Stop everything and throw the data away."""
        try:
            if self.node:
                self.node.close()
        finally:
            self.aws.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
