"""Synapse families, one file each."""
