"""Compiled programs at work: caches, threads, memory, results."""
