"""nmdeploy: from a trained spiking state-space network to verified low-bit integers, NIR and Lava.

    network = nmdeploy.load("net.safetensors")            a float Network: of a file, a nir.NIRGraph or a module
    model = nmdeploy.quantize(network, data=inputs)       its integers, at scales that fit the inputs
    recording = nmdeploy.run(model, inputs)               their spikes and classes
    session = nmdeploy.Session(model)                     the same of one sample, step by step as it arrives
    result = nmdeploy.verify(model, inputs)               compared with Lava, value by value
    report = nmdeploy.report(model, inputs)               operations, memory and energy per layer
    found = nmdeploy.diagnose(model, inputs, network)     which layer loses what, and which option helps
    nmdeploy.write(model, "model.nir")                    read it again with nmdeploy.read

Inputs are an array or a tensor (samples, steps, channels), a mapping with inputs, labels and lengths, or a path.
`save` stores a float network. `check`, `export` and `simulate` do what the commands do, from path to path. Within
`with nmdeploy.memory_limit(mebibytes):`, what does not fit is refused. A network of one's own is built with
`NetworkBuilder`, of the neuron and synapse classes that are listed in `CLASSES`. All are imported on first use.
`dir(nmdeploy)` lists them.
"""

from __future__ import annotations

import importlib
import time
from typing import Any

IMPORTED = time.time()
"""When; what runs may be older than a source file that was written later."""
__version__ = "0.1.0"
CLASSES = {
    "Session": "nmdeploy.pipeline.session",
    "memory_limit": "nmdeploy._util.memory",
    "NetworkBuilder": "nmdeploy.network.builder",
    "Network": "nmdeploy.network.network",
    "FixedPoint": "nmdeploy.fixedpoint",
    "LIF": "nmdeploy.neurons.lif",
    "FilteredIntegrator": "nmdeploy.neurons.filtered_integrator",
    "Integrator": "nmdeploy.neurons.integrator",
    "StateSpace": "nmdeploy.neurons.state_space.diagonal",
    "DenseStateSpace": "nmdeploy.neurons.state_space.dense",
    "WindowedStateSpace": "nmdeploy.neurons.state_space.windowed",
    "GatedLinearUnit": "nmdeploy.neurons.gated_linear_unit",
    "Dense": "nmdeploy.synapses.dense",
}
"""A run that is fed step by step, a limit of the memory, and classes to build networks of, with their modules."""
__all__ = [
    *(
        "check",
        "diagnose",
        "export",
        "load",
        "load_data",
        "quantize",
        "read",
        "report",
        "run",
        "save",
        "simulate",
        "verify",
        "write",
    ),
    *CLASSES,
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(CLASSES.get(name, "nmdeploy.pipeline")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__", "__version__"])
