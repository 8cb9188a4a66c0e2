"""Types of the fixtures that several test files share, and the files of the digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from click.testing import Result

from nmdeploy.examples import digits

CHECKPOINT, CALIBRATION, TEST = digits()
HELPERS = Path(__file__).resolve().parent
ROOT = HELPERS.parents[1]
Cli = Callable[..., Result]


@dataclass(frozen=True)
class Model:
    """A model file and data for it, in a folder of their own."""

    path: Path
    data: Path
