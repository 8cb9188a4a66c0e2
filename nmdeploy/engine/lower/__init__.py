"""Decisions between the bounds and the code: lanes, loops, operations and places in memory, as statements."""
