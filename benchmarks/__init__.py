"""Measurements of speed: `make bench` runs all of them (docs/benchmarks.md)."""
