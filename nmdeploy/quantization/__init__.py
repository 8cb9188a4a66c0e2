"""From a float network to integers: calibration and post-training quantization."""
