"""Population of a `lif` node: Intel's LIFReset if it means the same, else `RefractoryLIF`."""
# mypy: disable-error-code="import-not-found,import-untyped"

from typing import Any

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.proc.lif.process import LIFReset

from nmdeploy.lava.population import Placement, Population
from nmdeploy.lava.refractory_lif import RefractoryLIF
from nmdeploy.lava.traced_lif import TracedLIFReset

KIND = "lif"


def describe(node: dict[str, Any]) -> Population:
    """Return the population of a `lif` node.

    Raises
    ------
    ValueError
        The node has a refractory mode other than 'hold'.
    """
    arrays: dict[str, Any] = {
        key: np.array(node[key], np.int32) for key in ("du", "dv", "vth", "bias_mant", "bias_exp")
    }
    size, refractory = len(arrays["du"]), int(node.get("refractory_steps", 0))
    if refractory and node.get("refractory_mode", "hold") != "hold":
        raise ValueError(f"refractory_mode is {node['refractory_mode']!r}; a lif neuron only has 'hold'")

    def make(place: Placement) -> AbstractProcess:
        parameters = {"shape": (size,), **arrays}
        uniform = all(np.ptp(arrays[key]) == 0 for key in ("du", "dv", "vth"))
        if refractory or not uniform:
            return RefractoryLIF(**parameters, refractory_steps=refractory, **place.common)
        parameters |= {key: int(arrays[key][0]) for key in ("du", "dv", "vth")}
        return (
            LIFReset(**parameters, **place.timing)
            if place.trace is None
            else TracedLIFReset(**parameters, **place.common)
        )

    return Population(inputs=size, outputs=size, make=make, spikes=("spikes",), states=("u", "v"))
