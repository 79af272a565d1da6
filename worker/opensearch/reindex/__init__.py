"""Brings days that exist to the current mapping: a new index beside the old, compared, then swapped in one request."""
