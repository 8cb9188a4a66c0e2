"""Quantization of a float network to integers, by calibration after training."""
