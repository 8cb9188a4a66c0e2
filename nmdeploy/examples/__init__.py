"""Data that ships with nmdeploy: handwritten digits, and a network that was trained on them."""
