"""nmdeploy: from a trained spiking state-space network to verified low-bit integers, NIR and Lava.

The verbs of the command line are functions here: `check`, `export`, `simulate`, `verify`, `report`. So are their parts:
`load`, `load_data`, `quantize`, `write`, `read`, `run`. They are imported on first use.
"""

from __future__ import annotations

import time
from typing import Any

IMPORTED = time.time()
"""When; what runs may be older than a source file that was written later."""
__version__ = "0.1.0"
__all__ = [
    *("check", "export", "load", "load_data", "quantize", "read", "report", "run", "simulate", "verify", "write"),
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from nmdeploy import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
