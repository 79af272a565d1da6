"""The board of the pipeline itself: what was indexed when, how late, and what is missing or odd."""

from __future__ import annotations

import json

from worker.boards.panels import Board, Note, Panel, Pattern, count, metric, over_time, terms, terms_or_none

# Lag is the difference of two dates, which a script computes. The field's own value is not used: it is only there
# because Dashboards shows the result as a number if it aggregates a number. Lag is at least a second, because the axis
# is logarithmic: Dashboards refuses to draw a value below 1 on it.
_LAG_FIELD = "trailsink.position"
_LAG_SCRIPT = (
    "Math.max(1, (doc['trailsink.indexed_at'].value.toInstant().toEpochMilli()"
    " - doc['@timestamp'].value.toInstant().toEpochMilli()) / 1000.0)"
)

SILENT = Panel(
    "silent-accounts",
    "Accounts and regions, silent ones first",
    "table",
    (0, 32, 48, 13),
    groups=(
        terms_or_none("account", "Account", 500, order="asc"),
        terms_or_none("region", "Region", 30, order="asc"),
    ),
    metrics=(
        metric("max", "delivered_at", "Newest file"),
        metric("max", "recorded_at", "Last loaded"),
        count("Files"),
    ),
    description="From the ledger of files, of all time: the board's range does not hide who went silent before it.",
    pattern=Pattern.FILES,
)

NEWEST = Panel(
    "newest-by-account",
    "Newest events by account and region",
    "table",
    (0, 58, 48, 13),
    groups=(
        terms_or_none("recipientAccountId", "Account", 500, order="asc"),
        terms("awsRegion", "Region", 30, order="asc"),
    ),
    metrics=(
        metric("max", "@timestamp", "Newest event"),
        metric("max", "trailsink.indexed_at", "Last indexed"),
        count(),
    ),
    description="Of what was indexed in the board's range, the oldest first.",
    pattern=Pattern.INDEXED,
)

DEGRADED = Panel(
    "degraded",
    "Degraded records by cause",
    "table",
    (0, 71, 24, 12),
    "trailsink.degraded:*",
    groups=(terms("trailsink.degraded", "Cause"), terms_or_none("eventSource", "Service", 5)),
    description="Their whole text is in trailsink.raw; trailsink explain shows one.",
    pattern=Pattern.INDEXED,
)

PIPELINE = Board(
    "pipeline",
    "pipeline",
    (
        Note(
            "about-pipeline",
            "About",
            (0, 0, 12, 6),
            "{links}\n\nTimes are those of indexing: the last hour shows what was indexed in it.",
        ),
        Panel(
            "pipeline-totals",
            "Indexed",
            "metric",
            (12, 0, 36, 6),
            metrics=(count("Events indexed"), metric("cardinality", "trailsink.object", "Files")),
            pattern=Pattern.INDEXED,
        ),
        Panel(
            "indexed-over-time",
            "Events by the time they were indexed",
            "histogram",
            (0, 6, 48, 11),
            groups=(over_time("trailsink.indexed_at"),),
            pattern=Pattern.INDEXED,
        ),
        Panel(
            "lag",
            "Seconds from event to index",
            "line",
            (0, 17, 48, 15),
            groups=(over_time("trailsink.indexed_at"),),
            metrics=(
                metric(
                    "percentiles",
                    _LAG_FIELD,
                    "lag",
                    percents=[50, 95, 99],
                    json=json.dumps({"script": {"lang": "painless", "source": _LAG_SCRIPT}}),
                ),
            ),
            query="_exists_:trailsink.indexed_at AND _exists_:trailsink.position",
            description="CloudTrail itself delivers about five minutes after the call. Files loaded later count with "
            "their whole age, so the axis is logarithmic.",
            pattern=Pattern.INDEXED,
            scale="log",
            unit="Seconds",
        ),
        SILENT,
        Panel(
            "newest-files",
            "Files indexed last",
            "table",
            (0, 45, 48, 13),
            groups=(terms("trailsink.object", "File"),),
            metrics=(metric("max", "trailsink.indexed_at", "Indexed"), count()),
            pattern=Pattern.INDEXED,
        ),
        NEWEST,
        DEGRADED,
        Panel(
            "unsearchable",
            "Values that cannot be searched",
            "table",
            (24, 71, 24, 12),
            "trailsink.unsearchable:*",
            groups=(terms("trailsink.unsearchable", "Field"), terms_or_none("eventSource", "Service", 5)),
            description="Too long for the index, or of another type than the mapping's.",
            pattern=Pattern.INDEXED,
        ),
        Panel(
            "records-by-account",
            "Records by outcome",
            "table",
            (0, 83, 48, 12),
            groups=(terms_or_none("account", "Account", 20),),
            metrics=(
                count("Files"),
                metric("sum", "read", "Read"),
                metric("sum", "indexed", "Indexed"),
                metric("sum", "duplicate", "Duplicate"),
                metric("sum", "degraded", "Degraded"),
                metric("sum", "filtered", "Filtered"),
                metric("sum", "rejected", "Rejected"),
            ),
            description="From the ledger of files, of all time.",
            pattern=Pattern.FILES,
        ),
        Panel(
            "dead-letters",
            "Files in dead letters, by reason",
            "table",
            (0, 95, 48, 12),
            "reason:*",
            groups=(terms("reason", "Reason"), terms_or_none("account", "Account", 20)),
            metrics=(count("Files"), metric("max", "recorded_at", "Newest")),
            description="From the ledger of files, of all time. trailsink dlq list shows which are still there.",
            pattern=Pattern.FILES,
        ),
        Panel(
            "verdicts",
            "What trailsink verify found, the last first",
            "table",
            (0, 107, 48, 12),
            groups=(terms("verdict", "Verdict", 20), terms("complete", "Complete", 2)),
            metrics=(metric("max", "verified_at", "Last run"), count("Runs")),
            description="Of all time, and of runs over all accounts and regions only.",
            pattern=Pattern.VERDICTS,
        ),
    ),
    time_from="now-7d",
    refresh_seconds=60,
)
