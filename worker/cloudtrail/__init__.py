"""What CloudTrail writes: object keys, gzip files and records."""
