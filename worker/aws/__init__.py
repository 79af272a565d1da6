"""Adapters for S3, SQS and Secrets Manager."""
