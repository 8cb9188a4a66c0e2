"""Bounds of every value of a traced step."""
