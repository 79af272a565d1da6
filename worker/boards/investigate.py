"""The board for one caller, one address or one resource: everything it did, when, from where, and what failed."""

from __future__ import annotations

from worker.boards.panels import Board, Controls, Note, Panel, cases, count, metric, over_time, terms, terms_or_none

INVESTIGATE = Board(
    "investigate",
    "investigate",
    (
        Note(
            "about-investigate",
            "About",
            (0, 0, 12, 8),
            "{links}\n\nChoose one caller, address or resource, here or by a click on it on another board. "
            "The range of time stays what it was.",
        ),
        Controls(
            "subject",
            "Subject",
            (12, 0, 36, 8),
            {
                "Caller": "userIdentity.arn",
                "Access key": "userIdentity.accessKeyId",
                "Address": "sourceIPAddress",
                "Resource": "resources.ARN",
                "Bucket": "trailsink.request.bucketName",
            },
        ),
        Panel(
            "totals",
            "Events",
            "metric",
            (0, 8, 12, 10),
            metrics=(
                count(),
                metric("cardinality", "userIdentity.arn", "Callers"),
                metric("cardinality", "sourceIPAddress", "Addresses"),
            ),
        ),
        Panel(
            "first-and-last",
            "First and last event",
            "table",
            (12, 8, 36, 10),
            groups=(terms_or_none("recipientAccountId", "Account"), terms("awsRegion", "Region", 5)),
            metrics=(count(), metric("min", "@timestamp", "First"), metric("max", "@timestamp", "Last")),
        ),
        Panel(
            "calls-over-time",
            "Calls by service over time",
            "histogram",
            (0, 18, 48, 11),
            groups=(terms("eventSource", "Service", 8), over_time()),
        ),
        Panel(
            "what-it-did",
            "What was called",
            "table",
            (0, 29, 24, 14),
            groups=(
                terms("eventSource", "Service"),
                terms("eventName", "Call"),
                cases(succeeded="NOT errorCode:*", failed="errorCode:*"),
            ),
        ),
        Panel(
            "what-failed",
            "What failed, and why",
            "table",
            (24, 29, 24, 14),
            "errorCode:*",
            groups=(
                terms("eventName", "Call"),
                terms("errorCode", "Error", 3),
                terms_or_none("errorMessage.keyword", "Message", 3),
            ),
        ),
        Panel(
            "callers",
            "Callers",
            "table",
            (0, 43, 48, 13),
            groups=(
                terms_or_none("userIdentity.type", "Kind", 6),
                terms_or_none("userIdentity.arn", "Caller"),
                terms_or_none("userIdentity.accessKeyId", "Access key", 5),
            ),
            metrics=(count(), metric("min", "@timestamp", "First"), metric("max", "@timestamp", "Last")),
        ),
        Panel(
            "from-where",
            "From where",
            "table",
            (0, 56, 48, 13),
            groups=(terms("sourceIPAddress", "From"), terms("userAgent", "User agent", 5)),
            metrics=(count(), metric("min", "@timestamp", "First"), metric("max", "@timestamp", "Last")),
        ),
        Panel(
            "roles-assumed",
            "Roles assumed",
            "table",
            (0, 69, 48, 12),
            "eventName:(AssumeRole OR AssumeRoleWithSAML OR AssumeRoleWithWebIdentity)",
            groups=(
                terms("trailsink.request.roleArn", "Role"),
                terms_or_none("userIdentity.arn", "Caller", 5),
                terms_or_none("errorCode", "Error", 3),
            ),
        ),
        Panel(
            "resources",
            "Resources",
            "table",
            (0, 81, 48, 13),
            groups=(terms("resources.ARN", "Resource"), terms("eventName", "Call", 5)),
        ),
        Panel(
            "buckets",
            "Buckets",
            "table",
            (0, 94, 24, 12),
            groups=(terms("trailsink.request.bucketName", "Bucket"), terms("eventName", "Call", 5)),
            description="The bucket that a call names, of management and data events.",
        ),
        Panel(
            "instances",
            "Instances",
            "table",
            (24, 94, 24, 12),
            groups=(terms("trailsink.request.instanceId", "Instance"), terms("eventName", "Call", 5)),
        ),
    ),
    search_grid=(0, 106, 48, 20),
    time_from="",
)
