"""trailsink: CloudTrail log files from S3 into OpenSearch, none lost, none doubled."""

__version__ = "0.1.0"
