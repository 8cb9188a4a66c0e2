"""Trainable torch modules."""
