"""Decisions between the bounds and the code: lanes, loops, places in memory."""
