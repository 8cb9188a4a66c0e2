"""The trainable torch modules."""
