"""nmdeploy: from a trained spiking state-space network to verified low-bit integers, NIR and Lava.

The verbs of the command line are functions here: `check`, `export`, `simulate`, `verify`, `report`. So are their parts:
`load`, `load_data`, `quantize`, `write`, `read`, `run`. A network of one's own is built with `NetworkBuilder`, of the
neuron and synapse classes that are listed in `CLASSES`. All are imported on first use.
"""

from __future__ import annotations

import importlib
import time
from typing import Any

IMPORTED = time.time()
"""When; what runs may be older than a source file that was written later."""
__version__ = "0.1.0"
CLASSES = {
    "NetworkBuilder": "nmdeploy.network.builder",
    "Network": "nmdeploy.network.network",
    "FixedPoint": "nmdeploy.fixedpoint",
    "LIF": "nmdeploy.neurons.lif",
    "Integrator": "nmdeploy.neurons.integrator",
    "StateSpace": "nmdeploy.neurons.state_space.diagonal",
    "DenseStateSpace": "nmdeploy.neurons.state_space.dense",
    "WindowedStateSpace": "nmdeploy.neurons.state_space.windowed",
    "GatedLinearUnit": "nmdeploy.neurons.gated_linear_unit",
    "Dense": "nmdeploy.synapses.dense",
}
"""Classes to build networks of, and their modules."""
__all__ = [
    *("check", "export", "load", "load_data", "quantize", "read", "report", "run", "simulate", "verify", "write"),
    *CLASSES,
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(CLASSES.get(name, "nmdeploy.pipeline")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
