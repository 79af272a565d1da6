"""Every setting, read once from TRAILSINK_* environment variables; only the entry points know this module."""

from __future__ import annotations

import os
import re
from pathlib import Path  # noqa: TC003 - pydantic needs it at runtime
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from worker.aws.partitions import opensearch_service
from worker.errors import SetupError
from worker.humanize import plain_validation
from worker.pipeline.addresses import ClusterUrl, Url  # noqa: TC001 - pydantic needs them at runtime
from worker.pipeline.buckets import ANY_BUCKET, AllowedBuckets
from worker.pipeline.ledger import mixes_with_ledger
from worker.pipeline.limits import Limits, MiB, Partition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

# What OpenSearch allows in an index name, less what would need escaping in a pattern.
_Prefix = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]
_Days = Annotated[int, Field(ge=0)]
_Delay = Annotated[int, Field(ge=1, le=43_200)]  # of a message: "Quotas" in the developer guide of SQS
_Threads = Annotated[int, Field(ge=1, le=64)]
_Memory = Annotated[int, Field(ge=MiB)]
_Replicas = Annotated[int | None, Field(ge=0, le=10)]
_KeyPrefix = Annotated[str, StringConstraints(pattern=r"^([^/].*/)?$")]
_AccountId = Annotated[str, StringConstraints(pattern=r"^([0-9]{12})?$")]

# The patterns of settings, in words.
_RULES: dict[int | str, str] = {
    "index_prefix": "lower-case letters, digits, - and _, starting with a letter or digit",
    "bucket_account": "the 12 digits of an account",
    "trail_prefix": "with a slash at its end, and none at its start",
}

# Old buckets may have names that S3 does not allow any more; an ARN or an address is none.
# docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[A-Za-z0-9._-]{0,255}")
_ROLE_ARN = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:role/[!-~]+")

_LIMITS = Limits()  # the one source of its defaults


class StoreSettings(BaseModel):
    """Settings of what is read in S3."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str = Field(
        "",
        description="The trail's bucket. Files of another one are not read, unless `TRAILSINK_BUCKETS` allows it.",
    )
    buckets: str = Field(
        "",
        description="Buckets that may be read, separated by commas; `*` allows all. The default is `TRAILSINK_BUCKET`,"
        " and all where that is not set. A notification of another bucket becomes a dead letter.",
    )

    trail_prefix: _KeyPrefix = Field(
        "",
        description="Prefix of the keys that are announced, such as `AWSLogs/`. `trailsink status` and `doctor` look"
        " for files there. The default is the prefixes of the account's trails.",
    )
    bucket_account: _AccountId = Field("", description="Account that must own the bucket; S3 refuses another's.")
    s3_role_arn: str = Field(
        "",
        description="ARN of a role that reads the bucket, for a bucket of an account that allows no bucket policy.",
    )
    s3_external_id: str = Field("", description="External id that the role's trust policy requires.")
    request_payer: bool = Field(False, description="Pay for requests to a bucket with Requester Pays.")

    @model_validator(mode="after")
    def _check_role(self) -> Self:
        if self.s3_external_id and not self.s3_role_arn:
            raise ValueError("TRAILSINK_S3_EXTERNAL_ID is set, TRAILSINK_S3_ROLE_ARN is not")
        if self.s3_role_arn and not _ROLE_ARN.fullmatch(self.s3_role_arn):
            raise ValueError("TRAILSINK_S3_ROLE_ARN: not the ARN of a role")
        return self

    @model_validator(mode="after")
    def _check_buckets(self) -> Self:
        for name, buckets in (("bucket", {self.bucket}), ("buckets", self.allowed_buckets.names - {ANY_BUCKET})):
            if not all(_BUCKET.fullmatch(bucket) for bucket in buckets):
                raise ValueError(f"{variable(name)}: not the name of a bucket")
        return self

    @property
    def allowed_buckets(self) -> AllowedBuckets:
        """The buckets that may be read."""
        names = (name.strip() for name in (self.buckets or self.bucket).split(","))
        return AllowedBuckets(frozenset(name for name in names if name))


class Settings(StoreSettings):
    """Settings of every entry point. Passwords are never among them: only where to find them."""

    opensearch_url: ClusterUrl = Field(
        "",
        description="Address of the cluster, `https://host[:port][/path]`, without a user or password. Commands that"
        " use it require it. `http://` with a sign-in is refused, except on this machine.",
    )
    opensearch_auth: Literal["auto", "sigv4", "basic", "none"] = Field(
        "auto",
        description="How to sign in: `basic`, `sigv4` (signed AWS requests) or `none`. `auto`: `basic` with a user name"
        " or secret, `sigv4` for a host of AWS such as `*.amazonaws.com` or `*.on.aws`, else `none`.",
    )
    opensearch_service: Literal["auto", "es", "aoss"] = Field(
        "auto", description="SigV4 service: `es` for a domain, `aoss` for Serverless; `auto` goes by the host name."
    )
    opensearch_username: str = Field("", description="User name for basic authentication.")
    opensearch_password_file: Path | None = Field(None, description="File that holds the password (outside Lambda).")
    opensearch_secret_arn: str = Field(
        "",
        description="Secrets Manager secret with the JSON members `username` and `password`. If the"
        " cluster refuses the password, the secret is read again.",
    )
    opensearch_ca_file: Path | None = Field(None, description="PEM file of a private certificate authority to trust.")
    queue_url: Url = Field("", description="URL of the source queue. Commands that use it require it.")
    dead_letter_queue_url: Url = Field("", description="URL of the dead-letter queue. Commands that use it require it.")
    index_prefix: _Prefix = Field(_LIMITS.index_prefix, description="Indices are named `{prefix}-YYYY-MM-DD`.")
    index_partition: Partition = Field(
        _LIMITS.index_partition, description="`day` or `month`: how much time one index holds."
    )
    filters: str = Field("", description="File or `s3://` object of selectors: records that match are left out.")
    retention_days: _Days = Field(0, description="Days for which the policy of `setup` keeps events. 0 keeps all.")
    read_only_days: _Days = Field(0, description="Days until that policy blocks writes to an index. 0 never does.")
    merge_days: _Days = Field(0, description="Days until that policy merges an index to one segment. 0 never does.")
    merged_replicas: _Replicas = Field(None, description="Replicas that a merged index keeps. By default, all.")
    warm_days: _Days = Field(0, description="Days until that policy moves an index to UltraWarm. 0 never does.")
    ledger: bool = Field(
        _LIMITS.ledger,
        description="Keep the ledger: a document for each file, in `trailsink-files-{prefix}-YYYY-MM`.",
    )
    ledger_retention_days: _Days = Field(0, description="Days for which such a policy keeps the ledger. 0 keeps it.")
    max_inflated_bytes: _Memory = Field(
        _LIMITS.max_inflated_bytes,
        description="Maximum size of a file, decompressed. The default is five times CloudTrail's documented 50 MB."
        " A larger file is `too_large`.",
    )
    max_depth: int = Field(
        _LIMITS.max_depth,
        ge=8,
        le=190,
        description="Maximum nesting of a record that is indexed as it is. A deeper one takes the degraded form.",
    )
    max_days_per_file: int = Field(
        _LIMITS.max_days_per_file,
        ge=1,
        description="Maximum number of days in one file. It protects the cluster from a corrupt file.",
    )
    bulk_bytes: int = Field(
        _LIMITS.bulk_bytes,
        ge=1024,
        description="Bytes, uncompressed, at which a bulk request is sent. AWS advises 3 to 5 MiB.",
    )
    bulk_max_bytes: int = Field(
        _LIMITS.bulk_max_bytes,
        ge=1024,
        description="Maximum bytes of one request, under the 10 MiB of small nodes. A larger record is rejected.",
    )
    bulk_actions: int = Field(_LIMITS.bulk_actions, ge=1, description="Maximum documents in one bulk request.")
    bulk_in_flight: _Threads = Field(
        _LIMITS.bulk_in_flight,
        description="Maximum concurrent bulk requests per consumer. Starts at 2 and adapts to the cluster's responses.",
    )
    bulk_in_flight_bytes: _Memory = Field(
        _LIMITS.bulk_in_flight_bytes,
        description="Maximum bytes of bulk requests in flight or waiting, uncompressed. It limits memory.",
    )
    fetch_ahead: _Threads = Field(_LIMITS.fetch_ahead, description="Objects prefetched at once, per consumer.")
    fetch_ahead_bytes: _Memory = Field(
        _LIMITS.fetch_ahead_bytes,
        description="Maximum bytes of prefetched objects. It limits memory however large the batch.",
    )
    request_seconds: float = Field(60.0, gt=0, description="Maximum wait for one response of the cluster.")
    retry_seconds: float = Field(
        60.0,
        gt=0,
        description="How long a bulk request is retried while none of it is accepted. Then its messages go back.",
    )
    reserve_seconds: float = Field(
        _LIMITS.reserve_seconds,
        ge=1,
        description="Time kept at the end of a batch to return messages to the queue. No new work is started in it.",
    )
    backoff_seconds: _Delay = Field(
        _LIMITS.backoff_seconds,
        description="First delay of a message that goes back to the queue. It doubles with each receive.",
    )
    backoff_max_seconds: _Delay = Field(
        _LIMITS.backoff_max_seconds,
        description="Maximum delay of such a message. With the default, 60 receives last more than 36 hours.",
    )
    batch_seconds: float = Field(
        300.0, gt=0, description="Time for one batch of `trailsink run`. The Lambda function has its own timeout."
    )
    emf: bool = Field(True, description="Print CloudWatch EMF metrics, a line per batch; `trailsink run` only if set.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_combinations(self)
        return self

    def required(self, name: str) -> str:
        """Return a setting that must not be empty; raises SetupError that names its variable."""
        value: str = getattr(self, name)
        if not value:
            raise SetupError(f"{variable(name)} is not set.")
        return value

    def require(self, *names: str) -> None:
        """Raise SetupError that names all of these settings that are empty: they are asked for at once."""
        missing = [variable(name) for name in names if not getattr(self, name)]
        if missing:
            raise SetupError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.")

    @property
    def opensearch_host(self) -> str:
        """The host of the cluster's address, "" where none is set."""
        return urlsplit(self.opensearch_url).hostname or ""

    @property
    def is_serverless(self) -> bool:
        """Whether the cluster is a Serverless collection, which only its address can tell."""
        if self.opensearch_service != "auto":
            return self.opensearch_service == "aoss"
        return opensearch_service(self.opensearch_host) == "aoss"

    @property
    def metrics_queue(self) -> str | None:
        """The name of the source queue, the dimension of the metrics; None when there are to be none."""
        return queue_name(self.queue_url) if self.emf else None

    @property
    def limits(self) -> Limits:
        """The part that bounds the consumer."""
        return Limits(**{name: getattr(self, name) for name in Limits.__struct_fields__})


def _check_combinations(settings: Settings) -> None:
    """Raise ValueError for settings that contradict each other."""
    if settings.bulk_bytes > settings.bulk_max_bytes:
        raise ValueError("TRAILSINK_BULK_BYTES is above TRAILSINK_BULK_MAX_BYTES")
    if settings.reserve_seconds >= settings.batch_seconds:
        raise ValueError("TRAILSINK_RESERVE_SECONDS leaves nothing of TRAILSINK_BATCH_SECONDS")
    if 0 < settings.retention_days <= settings.read_only_days:
        raise ValueError("TRAILSINK_READ_ONLY_DAYS is not below TRAILSINK_RETENTION_DAYS")
    if settings.opensearch_password_file and not settings.opensearch_username:
        raise ValueError("TRAILSINK_OPENSEARCH_PASSWORD_FILE is set, TRAILSINK_OPENSEARCH_USERNAME is not")
    if settings.ledger and mixes_with_ledger(settings.index_prefix):
        raise ValueError("TRAILSINK_INDEX_PREFIX would match the ledger too: change it, or set TRAILSINK_LEDGER=false")


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"TRAILSINK_{name.upper()}"


def queue_name(url: str) -> str:
    """Return a queue's name, the last part of its URL."""
    return url.rstrip("/").rpartition("/")[2]


def unknown_settings(environment: Iterable[str]) -> list[str]:
    """Return the variables that look like settings but are not: most of them are typing errors."""
    settings = {variable(name) for name in Settings.model_fields} | {"TRAILSINK_JAVA_HOME", "TRAILSINK_MAVEN_URL"}
    names = {name for name in environment if name.startswith("TRAILSINK_") and not name.startswith("TRAILSINK_TEST_")}
    return sorted(names - settings)


def load_settings(**overrides: object) -> Settings:
    """Read the environment, where an empty variable is not set; `overrides` win over it.

    Raises SetupError that names each setting that is wrong.

    Not by pydantic-settings: at a cold start its import costs a twentieth of all imports, for these two lines.
    """
    environment = {name: value for name in Settings.model_fields if (value := os.environ.get(variable(name)))}
    try:
        return Settings.model_validate(environment | overrides)
    except ValidationError as cause:
        texts = map(_describe, cause.errors(include_url=False, include_input=False))
        raise SetupError(f"Wrong settings: {'; '.join(texts)}.") from cause


def _describe(error: ErrorDetails) -> str:
    """Describe one error of validation, with the variable's name where it is of one setting."""
    is_pattern = error["type"] == "string_pattern_mismatch"
    text = _RULES[error["loc"][0]] if is_pattern else plain_validation(error["msg"])
    names = [variable(str(part)) for part in error["loc"][:1]]
    return ": ".join([*names, text])
