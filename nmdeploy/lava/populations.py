"""One Lava Process for each population of a model: Intel's where it has the same semantics, else one of this folder."""
# mypy: disable-error-code="import-not-found,import-untyped"

from typing import Any

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.proc.lif.process import LIFReset

from nmdeploy.lava.integrator import Integrator
from nmdeploy.lava.refractory_lif import RefractoryLIF
from nmdeploy.lava.state_space import StateSpace
from nmdeploy.lava.trace import Trace
from nmdeploy.lava.traced_lif import TracedLIFReset


def make_population(name: str, node: dict[str, Any], interval: int, start: int, trace: Trace | None) -> AbstractProcess:
    """Process of the population `name`.

    Parameters
    ----------
    name : str
        Name of the node.
    node : dict
        Its entry in the model.
    interval : int
        Steps of a sample.
    start : int
        Lava time step in which the population sees its first real input.
    trace : Trace or None
        Recording, if any.

    Raises
    ------
    ValueError
        A state is wider than 32 bits, a mode is unknown, or a field is missing.
    """
    timing = {"reset_interval": interval, "reset_offset": start % interval, "name": name}
    makers = {"lif": _lif, "state_space": _state_space, "integrator": _integrator}
    try:
        return makers[node["kind"]](node, timing, trace)
    except KeyError as error:
        raise ValueError(f"node {name!r} has no field {error}") from error


def _lif(node: dict[str, Any], timing: dict[str, Any], trace: Trace | None) -> AbstractProcess:
    arrays: dict[str, Any] = {
        key: np.array(node[key], np.int32) for key in ("du", "dv", "vth", "bias_mant", "bias_exp")
    }
    shape = arrays["du"].shape
    refractory = int(node.get("refractory_steps", 0))
    if refractory and node.get("refractory_mode", "hold") != "hold":
        raise ValueError(f"{timing['name']}: refractory_mode is {node['refractory_mode']!r}; a lif neuron knows 'hold'")
    uniform = all(np.ptp(arrays[key]) == 0 for key in ("du", "dv", "vth"))
    if refractory or not uniform:
        return RefractoryLIF(shape=shape, **arrays, refractory_steps=refractory, **timing, trace=trace)
    scalars = {key: int(arrays.pop(key)[0]) for key in ("du", "dv", "vth")}
    if trace is None:
        return LIFReset(shape=shape, **arrays, **scalars, **timing)
    return TracedLIFReset(trace=trace, shape=shape, **arrays, **scalars, **timing)


def _state_space(node: dict[str, Any], timing: dict[str, Any], trace: Trace | None) -> AbstractProcess:
    arrays = ["a_re", "a_im", "b_re", "b_im", "c_re", "c_im", "d", "bias", "vth"]
    arrays += [key for key in ("r_re", "r_im") if node.get(key) is not None]
    scalars = ("frac_a", "frac_b", "frac_c", "frac_d", "rounding", "state_bits")
    parameters: dict[str, Any] = {key: np.array(node[key], np.int64) for key in arrays}
    return StateSpace(
        **parameters,
        **{key: node[key] for key in scalars},
        reset=node["reset_action"],
        refractory_steps=int(node.get("refractory_steps", 0)),
        refractory_mode=node.get("refractory_mode") or "hold",
        **timing,
        trace=trace,
    )


def _integrator(node: dict[str, Any], timing: dict[str, Any], trace: Trace | None) -> AbstractProcess:
    dv, bias = np.array(node["dv"], np.int32), np.array(node["bias"], np.int32)
    return Integrator(shape=dv.shape, dv=dv, bias=bias, state_bits=node["state_bits"], **timing, trace=trace)
