"""Recordings: the result of a run."""
