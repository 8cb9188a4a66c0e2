"""Measurements of speed, all run by `make bench` (docs/benchmarks.md)."""
