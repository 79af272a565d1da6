"""Loads files that are already in a bucket or a folder."""
