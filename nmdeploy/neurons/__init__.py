"""Neuron families, one file each."""
