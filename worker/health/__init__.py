"""Answers whether a pipeline works: facts, rules, status and doctor."""
