"""Data that ships with nmdeploy: handwritten digits, and a network that was trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent


class Digits(NamedTuple):
    """Files of the digits: a trained checkpoint, 128 calibration samples, 450 test samples.

    A sample is an image of 8 by 8 pixels, read as a sequence of 64 steps of one channel; `labels` are the digits.

    Source: scikit-learn's ``load_digits`` (UCI, Optical Recognition of Handwritten Digits);
    ``examples/train_digits.py`` trained the checkpoint.
    """

    checkpoint: Path
    calibration: Path
    test: Path


def digits() -> Digits:
    """Return the files of the digits.

    >>> digits().test.name
    'digits.npz'
    """
    return Digits(FOLDER / "digits.safetensors", FOLDER / "digits_calibration.npz", FOLDER / "digits.npz")
