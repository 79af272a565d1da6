"""The panels of the dashboards: what each one counts, of which events, and where it is placed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Agg = dict[str, Any]

DASHBOARD_COLUMNS = 48

_MISSING_LABEL = "not told"

# Lag is the difference of two dates, which a script computes. The field's own value is not used: it is only there
# because Dashboards shows the result as a number if it aggregates a number.
_LAG_FIELD = "trailsink.position"
_LAG_SCRIPT = (
    "(doc['trailsink.indexed_at'].value.toInstant().toEpochMilli()"
    " - doc['@timestamp'].value.toInstant().toEpochMilli()) / 1000.0"
)


def _count() -> Agg:
    return {"type": "count", "params": {}}


def _metric(kind: str, name: str, label: str, **params: object) -> Agg:
    return {"type": kind, "params": {"field": name, "customLabel": label, **params}}


def _terms(name: str, label: str, size: int = 10, **params: object) -> Agg:
    common = {"field": name, "size": size, "order": "desc", "orderBy": "1", "customLabel": label, "otherBucket": False}
    common |= {"missingBucket": False, "missingBucketLabel": _MISSING_LABEL, **params}
    return {"type": "terms", "params": common}


def _terms_or_missing(name: str, label: str, size: int = 10) -> Agg:
    return _terms(name, label, size, missingBucket=True)


def _over_time(name: str = "@timestamp") -> Agg:
    return {"type": "date_histogram", "params": {"field": name, "interval": "auto", "min_doc_count": 1}}


def _cases(**queries: str) -> Agg:
    filters = [{"input": {"query": query, "language": "lucene"}, "label": name} for name, query in queries.items()]
    return {"type": "filters", "params": {"filters": filters}}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: what it draws (`kind`), of which events (`query`), measured by `metrics` and grouped by `groups`.

    `grid` is x, y, width and height on the dashboard's 48 columns.
    """

    id: str
    title: str
    kind: str
    grid: tuple[int, int, int, int]
    query: str = ""
    groups: tuple[Agg, ...] = ()
    metrics: tuple[Agg, ...] = field(default_factory=lambda: (_count(),))
    description: str = ""


OVERVIEW = (
    Panel(
        "totals",
        "Events",
        "metric",
        (0, 0, 12, 9),
        metrics=(
            _count(),
            _metric("cardinality", "userIdentity.arn", "Callers"),
            _metric("cardinality", "recipientAccountId", "Accounts"),
        ),
    ),
    Panel(
        "calls-over-time",
        "Calls by service over time",
        "histogram",
        (12, 0, 36, 9),
        groups=(_terms("eventSource", "Service", 8), _over_time()),
    ),
    Panel(
        "calls-by-service", "Calls by service", "pie", (0, 9, 16, 13), groups=(_terms("eventSource", "Service", 12),)
    ),
    Panel(
        "errors",
        "Errors",
        "table",
        (16, 9, 32, 13),
        "errorCode:*",
        groups=(_terms("errorCode", "Error"), _terms("eventName", "Call", 5)),
    ),
    Panel(
        "console-logins",
        "Console logins",
        "table",
        (0, 22, 24, 12),
        "eventName:ConsoleLogin",
        groups=(
            _terms_or_missing("userIdentity.arn", "User"),
            _terms("sourceIPAddress", "From", 5),
            _terms_or_missing("additionalEventData.MFAUsed", "MFA", 3),
            _cases(succeeded="NOT errorMessage:*", failed="errorMessage:*"),
        ),
        description="CloudTrail tells no user for some failed attempts.",
    ),
    Panel(
        "root-use",
        "Use of root",
        "table",
        (24, 22, 24, 12),
        "userIdentity.type:Root AND NOT userIdentity.invokedBy:* AND NOT eventType:AwsServiceEvent",
        groups=(
            _terms("recipientAccountId", "Account"),
            _terms("eventName", "Call"),
            _terms("sourceIPAddress", "From", 5),
        ),
        description="As CIS counts it: without what AWS services do in the account's name.",
    ),
    Panel(
        "assumed-roles",
        "Who assumed what",
        "table",
        (0, 34, 24, 13),
        "eventName:(AssumeRole OR AssumeRoleWithSAML OR AssumeRoleWithWebIdentity) AND NOT errorCode:*",
        groups=(_terms_or_missing("userIdentity.arn", "Caller"), _terms("resources.ARN", "Role", include=".*:role/.*")),
        description="An AWS service that assumes a role has no ARN.",
    ),
    Panel(
        "denied-calls",
        "Denied calls by principal",
        "table",
        (24, 34, 24, 13),
        "errorCode:(*AccessDenied* OR *Unauthorized*)",
        groups=(
            _terms_or_missing("userIdentity.arn", "Caller"),
            _terms("eventName", "Call", 5),
            _terms("errorCode", "Error", 3),
        ),
    ),
    Panel("calls-by-region", "Calls by region", "pie", (0, 47, 12, 12), groups=(_terms("awsRegion", "Region", 20),)),
    Panel(
        "calls-by-address",
        "Calls by source address",
        "table",
        (12, 47, 14, 12),
        groups=(_terms("sourceIPAddress", "From", 20),),
    ),
    Panel(
        "calls-by-agent",
        "Calls by user agent",
        "table",
        (26, 47, 22, 12),
        groups=(_terms("userAgent", "User agent", 20),),
    ),
    Panel(
        "without-mfa",
        "Calls of users without MFA",
        "table",
        (0, 59, 24, 12),
        "userIdentity.type:(IAMUser OR Root) AND NOT userIdentity.invokedBy:*"
        " AND NOT userIdentity.sessionContext.attributes.mfaAuthenticated:true",
        groups=(_terms_or_missing("userIdentity.arn", "User"), _terms("eventName", "Call", 5)),
        description="Sessions without MFA, and long-term access keys, which know none. Roles are left out: "
        "what a service assumes never has MFA.",
    ),
    Panel(
        "data-events",
        "Data events by bucket",
        "table",
        (24, 59, 24, 12),
        "eventCategory:Data AND eventSource:s3.amazonaws.com",
        # An event names its object and its bucket; the bucket is the one without a slash.
        groups=(_terms("resources.ARN", "Bucket", include="arn:aws[^:]*:s3:::[^/]+"), _terms("eventName", "Call", 5)),
    ),
)

PIPELINE = (
    Panel(
        "pipeline-totals",
        "Indexed",
        "metric",
        (0, 0, 16, 9),
        metrics=(
            _count(),
            _metric("cardinality", "trailsink.object", "Files"),
            _metric("max", "trailsink.indexed_at", "Last indexed"),
        ),
    ),
    Panel(
        "indexed-over-time",
        "Events by the time they were indexed",
        "histogram",
        (16, 0, 32, 9),
        groups=(_over_time("trailsink.indexed_at"),),
    ),
    Panel(
        "lag",
        "Seconds from event to index",
        "line",
        (0, 9, 48, 12),
        groups=(_over_time(),),
        metrics=(
            _metric(
                "percentiles",
                _LAG_FIELD,
                "Seconds",
                percents=[50, 95, 99],
                json=json.dumps({"script": {"lang": "painless", "source": _LAG_SCRIPT}}),
            ),
        ),
        query="_exists_:trailsink.indexed_at AND _exists_:trailsink.position",
        description="CloudTrail itself delivers about five minutes after the call; files loaded later count with "
        "their whole age.",
    ),
    Panel(
        "degraded",
        "Degraded records by cause",
        "table",
        (0, 21, 24, 12),
        "trailsink.degraded:*",
        groups=(_terms("trailsink.degraded", "Cause"), _terms_or_missing("eventSource", "Service", 5)),
        description="Their whole text is in trailsink.raw; trailsink explain shows one.",
    ),
    Panel(
        "newest-by-account",
        "Newest by account and region",
        "table",
        (24, 21, 24, 12),
        groups=(_terms_or_missing("recipientAccountId", "Account", 100), _terms("awsRegion", "Region", 30)),
        metrics=(
            _count(),
            _metric("max", "@timestamp", "Newest event"),
            _metric("max", "trailsink.indexed_at", "Last indexed"),
        ),
        description="An account or a region that has gone silent.",
    ),
)
