"""Samples: the input of a network, in files and in memory."""
