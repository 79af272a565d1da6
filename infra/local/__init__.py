"""A real OpenSearch node and a stand-in for AWS on one machine, without Docker."""
