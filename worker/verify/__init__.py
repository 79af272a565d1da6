"""Proves what is loaded: CloudTrail's signed digests, held against the bucket, the ledger and the index."""
