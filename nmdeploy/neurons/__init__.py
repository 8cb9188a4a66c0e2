"""Neuron families, one file or folder each."""
