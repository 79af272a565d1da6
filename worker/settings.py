"""Every setting, read once from TRAILSINK_* environment variables; only the doors know this module."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - pydantic needs it at runtime
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from worker.errors import SetupError
from worker.pipeline.consumer import Limits
from worker.pipeline.documents import Partition

if TYPE_CHECKING:
    from collections.abc import Iterable

_MiB = 1 << 20

# What OpenSearch allows in an index name, less what would need escaping in a pattern.
_Prefix = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]


class Settings(BaseModel):
    """Settings of every door. Passwords are never among them: only where to find them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opensearch_url: str = Field("", description="Address of the cluster, `https://host[:port][/path]`. Required.")
    opensearch_auth: Literal["auto", "sigv4", "basic", "none"] = Field(
        "auto",
        description="How to sign in. `auto`: basic with a username or secret, SigV4 for `*.amazonaws.com`, else none.",
    )
    opensearch_service: Literal["auto", "es", "aoss"] = Field(
        "auto", description="SigV4 service: `es` for a domain, `aoss` for Serverless; `auto` goes by the host name."
    )
    opensearch_username: str = Field("", description="User name for basic authentication.")
    opensearch_password_file: Path | None = Field(None, description="File that holds the password (outside Lambda).")
    opensearch_secret_arn: str = Field(
        "", description="Secrets Manager secret with JSON members `username` and `password`; read again when refused."
    )
    opensearch_ca_file: Path | None = Field(None, description="PEM file of the authority to trust, for a private CA.")
    queue_url: str = Field("", description="URL of the source queue. Required.")
    dead_letter_queue_url: str = Field("", description="URL of the dead-letter queue. Required.")
    bucket: str = Field(
        "", description="The trail's bucket, for the operator's commands; the consumer is told by the notices."
    )

    index_prefix: _Prefix = Field("cloudtrail", description="Indices are named `{prefix}-YYYY-MM-DD`.")
    index_partition: Partition = Field(Partition.DAY, description="`day` or `month`: how much time one index holds.")
    retention_days: int = Field(
        0, ge=0, description="Days after which `trailsink setup` has indices deleted; 0 keeps them for ever."
    )

    max_inflated_bytes: int = Field(
        256 * _MiB,
        ge=_MiB,
        description="Largest file, inflated: five times CloudTrail's documented 50 MB. A larger one is `too_large`.",
    )
    max_depth: int = Field(
        64,
        ge=8,
        le=190,
        description="Deepest nesting of a record indexed as it is; a node can lose a request near 1,000.",
    )
    max_days_per_file: int = Field(
        100, ge=1, description="Most days one file may hold; a corrupt file must not create a thousand indices."
    )
    bulk_bytes: int = Field(
        5 * _MiB, ge=1024, description="Bytes, uncompressed, at which a bulk request is sent; AWS advises 3 to 5 MiB."
    )
    bulk_max_bytes: int = Field(
        19 * _MiB // 2,
        ge=1024,
        description="Hard stop for one request: under the 10 MiB of small managed nodes. A larger record is rejected.",
    )
    bulk_actions: int = Field(2_000, ge=1, description="Most documents in one bulk request.")
    bulk_in_flight: int = Field(
        8,
        ge=1,
        le=64,
        description="Most bulk requests under way at once, per consumer; it begins with 2 and goes by the answers.",
    )
    bulk_in_flight_bytes: int = Field(
        24 * _MiB, ge=_MiB, description="Bytes of bulk requests under way or waiting, uncompressed: bounds memory."
    )
    fetch_ahead: int = Field(8, ge=1, le=64, description="Objects fetched ahead at once, per consumer.")
    fetch_ahead_bytes: int = Field(
        32 * _MiB, ge=_MiB, description="Bytes of objects fetched ahead: bounds memory however large the batch."
    )
    request_seconds: float = Field(60.0, gt=0, description="Longest wait for one answer of the cluster.")
    retry_seconds: float = Field(
        60.0,
        gt=0,
        description="How long one bulk request is retried, while nothing of it is taken, before its messages go back to"
        " the queue.",
    )
    reserve_seconds: float = Field(
        10.0, ge=1, description="Time kept at the end of an invocation for handing back; nothing is started in it."
    )
    backoff_seconds: int = Field(30, ge=1, le=43_200, description="First wait of a message that goes back; doubles.")
    backoff_max_seconds: int = Field(
        3_600, ge=1, le=43_200, description="Longest such wait: 40 receives then last more than a day."
    )
    batch_seconds: float = Field(
        300.0, gt=0, description="Time for one batch of `trailsink run`; the Lambda function has its own timeout."
    )
    emf: bool = Field(True, description="Print CloudWatch EMF metrics, one line per batch.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bulk_bytes > self.bulk_max_bytes:
            raise ValueError("TRAILSINK_BULK_BYTES is above TRAILSINK_BULK_MAX_BYTES")
        if self.reserve_seconds >= self.batch_seconds:
            raise ValueError("TRAILSINK_RESERVE_SECONDS leaves nothing of TRAILSINK_BATCH_SECONDS")
        if self.opensearch_password_file and not self.opensearch_username:
            raise ValueError("TRAILSINK_OPENSEARCH_PASSWORD_FILE is set, TRAILSINK_OPENSEARCH_USERNAME is not")
        if self.opensearch_url and urlsplit(self.opensearch_url).scheme not in ("http", "https"):
            raise ValueError("TRAILSINK_OPENSEARCH_URL must begin with http:// or https://")
        return self

    def required(self, name: str) -> str:
        """Return a setting that must not be empty; raises SetupError that names its variable."""
        value: str = getattr(self, name)
        if not value:
            raise SetupError(f"TRAILSINK_{name.upper()} is not set.")
        return value

    @property
    def opensearch_host(self) -> str:
        """The host of the cluster's address, "" where none is set."""
        return urlsplit(self.opensearch_url).hostname or ""

    @property
    def is_serverless(self) -> bool:
        """Whether the cluster is a Serverless collection, which can be told by its address only."""
        if self.opensearch_service != "auto":
            return self.opensearch_service == "aoss"
        return self.opensearch_host.endswith(".aoss.amazonaws.com")

    @property
    def metrics_queue(self) -> str | None:
        """The name that metrics are told under, that of the source queue; None when none are to be told."""
        return queue_name(self.queue_url) if self.emf else None

    @property
    def limits(self) -> Limits:
        """The part that bounds the consumer."""
        return Limits(**{name: getattr(self, name) for name in Limits.__struct_fields__})


def queue_name(url: str) -> str:
    """Return a queue's name, with which its URL ends."""
    return url.rstrip("/").rpartition("/")[2]


_PREFIX_RULE = "small letters, digits, - and _, beginning with a letter or digit"


def unknown_settings(environment: Iterable[str]) -> list[str]:
    """Name variables that look like settings and are none: typing errors, most of them."""
    known = {f"TRAILSINK_{name.upper()}" for name in Settings.model_fields}
    ours = {name for name in environment if name.startswith("TRAILSINK_") and not name.startswith("TRAILSINK_TEST_")}
    return sorted(ours - known - {"TRAILSINK_JAVA_HOME"})


def load_settings(**given: object) -> Settings:
    """Read the environment, where an empty variable is not set; raises SetupError that names each that is wrong.

    What is `given` wins over the environment.

    Not by pydantic-settings: at a cold start its import costs a twentieth of all imports, for these two lines.
    """
    told = {name: os.environ.get(f"TRAILSINK_{name.upper()}") for name in Settings.model_fields}
    try:
        return Settings.model_validate({name: value for name, value in told.items() if value} | given)
    except ValidationError as cause:
        parts = []
        for error in cause.errors(include_url=False, include_input=False):
            name = "".join(f"TRAILSINK_{part}".upper() for part in error["loc"][:1])
            text = (
                _PREFIX_RULE
                if error["type"] == "string_pattern_mismatch"
                else error["msg"].removeprefix("Value error, ")
            )
            parts.append(f"{name}: {text}" if name else text)
        raise SetupError("Wrong settings: " + "; ".join(parts) + ".") from cause
