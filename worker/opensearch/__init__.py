"""Adapters for OpenSearch: client, bulk sender, schema, security and search."""
