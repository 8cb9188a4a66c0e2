"""nmdeploy: from a trained spiking state-space network to verified low-bit integers, NIR and Lava.

The verbs of the command line are functions here: `load`, `load_data`, `quantize`, `write`, `read`, `run`, `verify`,
`report`. They are imported on first use, so that ``import nmdeploy`` costs nothing.
"""

from __future__ import annotations

import time
from typing import Any

IMPORTED = time.time()
"""When; what runs may be older than a source file that was written later."""
__version__ = "0.1.0"
__all__ = ["load", "load_data", "quantize", "read", "report", "run", "verify", "write"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from nmdeploy import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
