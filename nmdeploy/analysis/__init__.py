"""Figures of a run: metrics, energy, comparisons, the report."""
