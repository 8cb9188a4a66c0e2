"""Targets: hardware profiles, and networks mapped to their cores."""
